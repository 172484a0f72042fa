"""Prefect's process worker, with public names for the private methods that the platform overrides."""

from __future__ import annotations

import abc
import logging
from typing import TYPE_CHECKING, Any

import httpx
from prefect.workers.process import ProcessWorker

from yeedu_worker.patches.process_worker import leave_out_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse

logger = logging.getLogger("prefect.workers.hooks")  # shown where Prefect's own are


class HookedWorker(ProcessWorker, abc.ABC):
    """Prefect's process worker, whose private methods call the public ones here."""

    @property
    def has_tokens(self) -> bool:
        """Whether the server may want a CSRF token with each change; it is asked once for each client."""
        return getattr(getattr(self.client, "_client", None), "enable_csrf_support", True)

    def start_beside_flow_runs(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start work that is awaited together with the flow runs; return whether that is possible now."""
        if self._runs_task_group is None:
            return False
        self._runs_task_group.start_soon(work)
        return True

    async def due_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """Return the flow runs to claim."""
        return await super()._get_scheduled_flow_runs()

    async def claim(self, flow_run: FlowRun) -> None:
        """Claim a flow run and start its process, or leave it to a later poll if the server is unreachable.

        Prefect's own method lets the error through, which ends the worker and everything that it runs.
        """
        try:
            await super()._submit_run(flow_run)
        except httpx.HTTPError as error:
            logger.warning("flow run %s is not claimed now, but by a later poll: %r", flow_run.id, error)
            self._submitting_flow_run_ids.discard(flow_run.id)
            if self._cancelling_observer is not None:
                self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)

    def make_room(self, flow_run_id: UUID) -> None:
        """Free the place of a flow run that has ended, or was not claimed after all."""
        super()._release_limit_slot(flow_run_id)

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        return await self.due_flow_runs()

    async def _submit_run(self, flow_run: FlowRun) -> None:
        await self.claim(flow_run)

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        self.make_room(flow_run_id)

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Write no labels yet: `run` does, which knows the environment of the run's process."""
        if leave_out_requests.why_not:
            await super()._give_worker_labels_to_flow_run(flow_run_id)

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Propose nothing: the process starts at once, and until then Pending says as much."""
        if leave_out_requests.why_not:
            await super()._propose_submitting_state(flow_run)
