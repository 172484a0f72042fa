"""The states that a worker writes for flow runs whose process is gone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import httpx
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger("prefect.workers.draining")  # shown where Prefect's own are

_STATE_SECONDS = 5.0
_UNFINISHED = frozenset({StateType.PENDING, StateType.RUNNING})


async def put_back(client: PrefectClient, flow_run_id: UUID, worker_name: str) -> None:
    """Make a flow run wait for the next worker, unless it has ended after all.

    Takes at most 5 seconds; a failure is logged.
    """
    with anyio.move_on_after(_STATE_SECONDS):
        try:
            flow_run = await client.read_flow_run(flow_run_id)
            if flow_run.state is None or flow_run.state.type not in _UNFINISHED:
                return
            message = f"handed over: worker {worker_name} was stopped before this run ended"
            await client.set_flow_run_state(flow_run_id, AwaitingRetry(message=message))
            # With the number of the dead process, a cancellation would wait for a worker that has it.
            await client.update_flow_run(flow_run_id, infrastructure_pid="")
            logger.info("flow run %r (%s): %s", flow_run.name, flow_run_id, message)
        except (httpx.HTTPError, ObjectNotFound) as error:
            logger.warning("flow run %s could not be put back to its queue: %r", flow_run_id, error)


async def finish_cancellation(client: PrefectClient, flow_run_id: UUID) -> None:
    """Mark as cancelled a flow run whose process ended by itself after its cancellation was requested.

    An engine that finds its run *Cancelling* before it begins just exits, and the server would notice
    only after five minutes.
    """
    try:
        flow_run = await client.read_flow_run(flow_run_id)
        if flow_run.state and flow_run.state.is_cancelling():
            state = Cancelled(message="Flow run was cancelled before its flow began.")
            await client.set_flow_run_state(flow_run_id, state)
    except (httpx.HTTPError, ObjectNotFound) as error:
        logger.warning("whether flow run %s is cancelled is left to the server: %r", flow_run_id, error)
