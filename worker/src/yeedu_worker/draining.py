"""A process worker that drains: it lets its flow runs end, and hands over those that do not.

Prefect's own worker, when told to stop, ends its flows within two seconds and leaves their runs RUNNING for
ever. It also gives up, with the same effect, when the server is unreachable for some minutes.
"""

from __future__ import annotations

import abc
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.utilities.math import clamped_poisson_interval
from prefect.workers.process import ProcessJobConfiguration, ProcessWorkerResult

from yeedu_worker.left_runs import PAUSE_SECONDS, LeftRuns
from yeedu_worker.patches.hooks import HookedWorker
from yeedu_worker.patches.repeated_work import one_claim, read_deployments_once
from yeedu_worker.run_environment import run_environment
from yeedu_worker.run_labels import labels_of
from yeedu_worker.run_process import RunProcess, StartRecorder
from yeedu_worker.run_states import finish_cancellation, put_back

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from anyio.abc import TaskStatus
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import WorkerFlowRunResponse

logger = logging.getLogger("prefect.workers.draining")  # shown where Prefect's own are

_POLL_SECONDS, _START_SECONDS = 0.2, 5.0
# The runs of a worker that the server did not answer for this long may have been taken for dead. The worker's
# client retries for about a minute before it reports the outage.
_SILENCE_SECONDS = 30.0


class Drained(Exception):  # noqa: N818 - not an error
    """The worker was told to stop, and has no flow run left."""


# With `abc.ABC` among its bases, Prefect does not register it in place of its own process worker.
class DrainingWorker(HookedWorker, abc.ABC):
    """Prefect's process worker, which also drains, and waits for a server that does not answer.

    Args:
        limit: The maximum number of concurrent flow runs.
        work_pool_name: The work pool to poll.
        work_queues: The queues of the pool to poll; none means every queue.
        options: Prefect's own.

    Attributes:
        room: Set when a flow run of a full worker ends, since others may be waiting for its place.
    """

    def __init__(
        self, *, limit: int, work_pool_name: str, work_queues: Sequence[str] = (), **options: Any
    ) -> None:
        super().__init__(work_pool_name=work_pool_name, work_queues=list(work_queues), limit=limit, **options)
        self._pool_name, self._queue_names = work_pool_name, sorted(set(work_queues))
        self.room = anyio.Event()
        self._processes: dict[UUID, RunProcess] = {}
        self._polls: anyio.CancelScope | None = None
        # With two polls at once, one could kill the process of a flow run that the other has just claimed.
        self._polling = anyio.Lock()
        self._deadline: float | None = None
        self._is_server_away = False
        self._heard_at = time.monotonic()
        self._polled_at: float | None = None
        self._left_runs = LeftRuns(self._pool_name, self._queue_names)
        self._looked_at = time.monotonic()

    def drain(self, grace_seconds: float) -> None:
        """Claim no more flow runs, and hand over what has not ended in time.

        Args:
            grace_seconds: How long flow runs may go on. Of several calls, the latest deadline counts, but 0
                always means at once.
        """
        deadline = time.monotonic() + grace_seconds
        if self._deadline is None or grace_seconds == 0 or deadline > self._deadline > time.monotonic():
            self._deadline = deadline
            logger.info("told to stop; %d flow runs may go on for %.0f s", self.active, grace_seconds)
        if self._polls is not None:
            self._polls.cancel()

    @property
    def is_draining(self) -> bool:
        """Whether this worker claims no more flow runs."""
        return self._deadline is not None

    @property
    def seconds_since_poll(self) -> float:
        """How long ago the last poll ended, successful or not; 0 before the first one."""
        return 0 if self._polled_at is None else time.monotonic() - self._polled_at

    @property
    def active(self) -> int:
        """How many claimed flow runs have not ended."""
        return int(self.limiter.borrowed_tokens) if self.is_setup else 0

    @property
    def is_full(self) -> bool:
        """Whether no flow run can be claimed until one ends."""
        return self.limiter.available_tokens < 1

    @property
    def pool_id(self) -> UUID | None:
        """The id of the work pool; `None` until the server has sent it."""
        with suppress(RuntimeError):  # it has not yet
            return self.work_pool.id
        return None

    async def sources(self) -> list[str]:
        """Return the event resources whose flow runs this worker claims: its queues, or its work pool."""
        if not self._queue_names:
            return [f"prefect.work-pool.{self.pool_id}"]
        queues = [
            await self.client.read_work_queue_by_name(name, work_pool_name=self._pool_name)
            for name in self._queue_names
        ]
        return [f"prefect.work-queue.{queue.id}" for queue in queues]

    async def setup(self) -> None:
        """Prepare the worker for its loops."""
        await super().setup()
        read_deployments_once(self.client)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Claim flow runs as they fall due until the worker is told to stop, then let them end.

        Prefect's loop, which calls this, always pauses for a whole poll interval between calls. So this polls
        in a loop of its own, and is called only once.

        Raises:
            Drained: The worker was told to stop, and has no flow run left.
        """
        seconds = get_current_settings().worker.query_seconds
        with anyio.CancelScope() as self._polls:
            while not self.is_draining:
                await self.poll()
                await anyio.sleep(clamped_poisson_interval(seconds))
        await self._await_end()
        await self._hand_over()
        raise Drained

    async def poll(self) -> None:
        """Claim the flow runs that are due now."""
        try:
            async with self._polling:
                await super().get_and_submit_flow_runs()
        except httpx.HTTPError as error:
            self._note_outage(error)
            return
        finally:
            self._polled_at = time.monotonic()
        if self._is_server_away:
            logger.info("the server answers again")
            self._is_server_away = False
        silence_seconds = time.monotonic() - self._heard_at
        self._heard_at = time.monotonic()
        if silence_seconds > _SILENCE_SECONDS:
            await self._end_what_others_took()

    async def _end_what_others_took(self) -> None:
        """Kill the processes of flow runs that were taken for dead meanwhile and were started elsewhere."""
        for flow_run_id, process in list(self._processes.items()):
            try:
                flow_run = await self.client.read_flow_run(flow_run_id)
            except (httpx.HTTPError, ObjectNotFound) as error:
                logger.warning(
                    "cannot tell whether flow run %s is still this worker's: %r", flow_run_id, error
                )
                continue
            if process.is_lost(flow_run):
                logger.warning("flow run %s was started elsewhere; killing its process here", flow_run_id)
                await process.end()

    async def due_flow_runs(self) -> list[WorkerFlowRunResponse]:
        """Return the flow runs that are due, without those that this worker still has.

        A run that was wrongly taken for dead may come back. Its process is killed first, and the run is
        claimed only when nothing is left of that: it never has two processes.
        """
        due = await super().due_flow_runs()
        if self.is_draining:
            return []
        held = set(self.limiter.statistics().borrowers)
        for flow_run_id in {entry.flow_run.id for entry in due}:
            if process := self._processes.get(flow_run_id):  # it may have ended while another was killed
                logger.warning("flow run %s was claimed again; killing its earlier process", flow_run_id)
                await process.end()
        return [entry for entry in due if entry.flow_run.id not in held]

    async def sync_with_backend(self) -> None:
        """Send the server a heartbeat, read the work pool, and search for orphans when that is due."""
        try:
            await super().sync_with_backend()
        except httpx.HTTPError as error:
            self._note_outage(error)
            return
        is_due = time.monotonic() - self._looked_at > PAUSE_SECONDS
        if is_due and self._deadline is None and self.start_beside_flow_runs(self._stop_left_runs):
            self._looked_at = time.monotonic()

    async def _stop_left_runs(self) -> None:
        """Have the orphans of ended flow runs on Yeedu stopped; log a failure, which is retried later."""
        try:
            await self._left_runs.stop(self.client)
        except (httpx.HTTPError, OSError) as error:
            logger.warning("cannot look for orphans of flow runs now: %r", error)

    def _note_outage(self, error: httpx.HTTPError) -> None:
        """Log an outage once, and let polling go on: running flows do not depend on it.

        Raises:
            httpx.HTTPStatusError: The server answers, and refuses.
        """
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
            raise error
        if not self._is_server_away:
            logger.warning("the server does not answer (%r); retrying until it does", error)
        self._is_server_away = True

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run in a process of its own."""
        process = self._processes[flow_run.id] = RunProcess()
        try:
            async with run_environment(configuration, has_tokens=self.has_tokens):
                await self.client.update_flow_run_labels(flow_run.id, labels_of(self, configuration.env))
                with process.scope:
                    result = await super().run(flow_run, configuration, StartRecorder(process, task_status))
                    if result.status_code:
                        await finish_cancellation(self.client, flow_run.id)
                    return result
        finally:
            del self._processes[flow_run.id]
            process.has_ended.set()
        return ProcessWorkerResult(status_code=0, identifier=str(process.process_id))

    async def claim(self, flow_run: FlowRun) -> None:
        """Claim a flow run and start its process; if it has none, free its place."""
        with one_claim():
            await super().claim(flow_run)
        if flow_run.id not in self._processes:
            self.make_room(flow_run.id)

    def make_room(self, flow_run_id: UUID) -> None:
        """Free the place of a flow run, and set `room` if the worker was full."""
        if self.is_full:
            self.room.set()
        super().make_room(flow_run_id)

    async def _await_end(self) -> None:
        """Wait until all flow runs have ended or time is up."""
        while self.active and self._deadline is not None and time.monotonic() < self._deadline:
            await anyio.sleep(_POLL_SECONDS)

    async def _hand_over(self) -> None:
        """Kill the processes that are left, and put their flow runs back into the queue."""
        with anyio.move_on_after(_START_SECONDS):  # let a run that is just being started get its process
            while self.active > sum(process.process_id > 0 for process in self._processes.values()):
                await anyio.sleep(_POLL_SECONDS)
        left = cast("list[UUID]", list(self.limiter.statistics().borrowers))
        async with anyio.create_task_group() as group:
            for flow_run_id in left:
                group.start_soon(self._hand_over_one, flow_run_id)

    async def _hand_over_one(self, flow_run_id: UUID) -> None:
        if process := self._processes.get(flow_run_id):
            await process.end()
        await put_back(self.client, flow_run_id, self.name)
