"""Takes a run through its life cycle: submitted, running, ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from typing import TYPE_CHECKING, Any

from yeedu_mock.errors import ConflictError, EndingError, NotFoundError
from yeedu_mock.execution import out_of_memory
from yeedu_mock.execution.concurrency import has_room, unfinished
from yeedu_mock.execution.job_process import JobProcess
from yeedu_mock.execution.kernel_pool import KernelPool
from yeedu_mock.state.enums import RunStatus
from yeedu_mock.state.records import Cluster, JobDefinition, NotebookDefinition, Run, RunState, now

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from yeedu_mock.control.switches import Switches
    from yeedu_mock.execution.kernel import Kernel
    from yeedu_mock.execution.limits import Limits
    from yeedu_mock.execution.programs import Programs
    from yeedu_mock.state.store import Store

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
MAX_ENDED_RUNS = 1000
LOG_STREAMS = ("stdout", "stderr")


class RunService:
    """Starts, follows and stops runs.

    Args:
        store: Where runs are kept.
        folder: Where runs have their scratch folders, named by id.
        home: What programs see as `HOME`.
        limits: What each job and kernel may use.
        spare_kernels: How many kernels to start ahead.
        switches: How long runs take to start and stop.
        programs: Knows what jobs run.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        home: Path,
        limits: Limits,
        *,
        spare_kernels: int,
        switches: Switches,
        programs: Programs,
    ) -> None:
        self._programs = programs
        self._store = store
        self._folder = folder
        self._home = home
        self._limits = limits
        self._switches = switches
        self._pool = KernelPool(folder / "spare-kernels", home, limits, spare_kernels, switches)
        self._waiting: set[int] = set()
        self._is_closed = False
        self._jobs: dict[int, JobProcess] = {}
        self._kernels: dict[int, Kernel] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self) -> None:
        """End the runs that an earlier process left open, and start spare kernels."""
        for run in self.unfinished():
            self._finish(run, RunStatus.TERMINATED, error="The server was restarted while this ran.")
        self._home.mkdir(parents=True, exist_ok=True)
        self._pool.fill()

    async def close(self) -> None:
        """End every run, as TERMINATED, and every process; nothing can be submitted afterwards."""
        self._is_closed = True
        await self.end_all("The server was shut down while this ran.")
        await self._pool.close()

    async def end_all(self, reason: str) -> None:
        """End every run, as TERMINATED, and its process."""
        jobs, kernels, tasks = [*self._jobs.values()], [*self._kernels.values()], [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(
            *(job.stop(grace_seconds=0) for job in jobs), *(kernel.shutdown() for kernel in kernels)
        )
        self._kernels.clear()
        for run in self.unfinished():
            self._finish(run, RunStatus.TERMINATED, error=reason)

    def submit(self, run: Run, definition: JobDefinition | NotebookDefinition) -> Run:
        """Store a new run and start it in the background; forget the oldest ended runs beyond the maximum.

        Raises:
            EndingError: The mock is shutting down.
        """
        if self._is_closed:
            raise EndingError("The mock is ending; nothing can be started any more.")
        run.definition_key = definition.key
        run.states.append(RunState(status=run.status))
        self._store.add(run)
        self._waiting.add(run.key)
        self._forget_oldest()
        self.folder(run).parent.mkdir(parents=True, exist_ok=True)
        work = (
            self._run_job(run, definition)
            if isinstance(definition, JobDefinition)
            else self._run_notebook(run)
        )
        self._in_background(run.key, work, f"run-{run.id}")
        return run

    async def stop(self, run: Run) -> None:
        """Bring a run to STOPPING and, in the background, to STOPPED.

        Raises:
            ConflictError: It has ended or is being stopped already.
        """
        if run.status.is_terminal or run.status is RunStatus.STOPPING:
            if self._switches.idempotent_stop:
                return
            raise ConflictError(f"The run {run.id} cannot be stopped, it is {run.status}.")
        self._set(run, RunStatus.STOPPING)
        previous = self._tasks.pop(run.key, None)
        self._in_background(-run.key, self._stop(run, previous), f"stop-{run.id}")

    def release(self, run: Run) -> None:
        """Let a run start that is held at SUBMITTED by hand; do nothing to one that runs.

        Raises:
            ConflictError: It has ended or is being stopped.
        """
        if run.status not in {RunStatus.SUBMITTED, RunStatus.RUNNING}:
            raise ConflictError(f"The run {run.id} cannot be made to run, it is {run.status}.")
        self._waiting.discard(run.key)

    async def force(self, run: Run, status: RunStatus, error: str | None) -> None:
        """End a run's process, and set the run to this state."""
        task = self._tasks.get(run.key)
        job = self._jobs.get(run.key)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if job is not None:
            await job.stop(grace_seconds=0)
        self._finish(run, status, error=error)
        await self._drop_kernel(run)

    def kernel(self, run: Run) -> Kernel:
        """Return the kernel of a running notebook run.

        Raises:
            ConflictError: The run has no kernel, or it has ended.
        """
        kernel = self._kernels.get(run.key)
        if kernel is None or run.status is not RunStatus.RUNNING:
            raise ConflictError(f"The notebook run {run.id} has no kernel, it is {run.status}.")
        return kernel

    def log_path(self, run: Run, stream: str) -> Path:
        """Return the file that holds a run's output.

        Raises:
            NotFoundError: The stream is neither stdout nor stderr.
        """
        if stream not in LOG_STREAMS:
            raise NotFoundError(f"There is no log {stream!r}, only stdout and stderr.")
        return self.folder(run) / f"{stream}.log"

    def unfinished(self) -> list[Run]:
        """Return the runs that have not ended, the oldest first."""
        return unfinished(self._store)

    def _forget_oldest(self) -> None:
        ended = [run for run in self._store.all(Run) if run.status.is_terminal]
        for run in ended[: max(0, len(ended) - MAX_ENDED_RUNS)]:
            self._store.remove(run)
            shutil.rmtree(self.folder(run), ignore_errors=True)

    def _in_background(self, key: int, work: Coroutine[Any, Any, None], name: str) -> None:
        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.pop(key, None)
            self._waiting.discard(key)

        task = self._tasks[key] = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)

    def folder(self, run: Run) -> Path:
        """Return a run's scratch folder, which exists once the run has started."""
        return self._folder / str(run.key)

    async def _run_job(self, run: Run, definition: JobDefinition) -> None:
        await self._until_it_may_start(run)
        folder = self.folder(run)
        folder.mkdir()
        if self._is_too_small(run):
            self._run_out_of_memory(run)
            return
        job = self._jobs[run.key] = JobProcess(folder, self._home, self._limits, self._programs)
        try:
            await job.start(definition, run)
        except (OSError, ValueError) as error:
            self._finish(run, RunStatus.ERROR, error=f"The program could not be started: {error}")
        else:
            if run.status is RunStatus.SUBMITTED:
                self._mark_running(run)
            status, code, error = await job.wait()
            if run.status is not RunStatus.STOPPING:
                self._finish(run, status, exit_code=code, error=error)
        finally:
            self._jobs.pop(run.key, None)

    async def _until_it_may_start(self, run: Run) -> None:
        await asyncio.sleep(self._switches.start_delay_seconds)
        while self._switches.start_by_hand and run.key in self._waiting:
            await asyncio.sleep(POLL_SECONDS)
        while self._switches.max_concurrency == "queue" and not has_room(self._store, run):
            await asyncio.sleep(POLL_SECONDS)
        self._waiting.discard(run.key)

    async def _run_notebook(self, run: Run) -> None:
        await self._until_it_may_start(run)
        if self._is_too_small(run):
            self.folder(run).mkdir()
            self._run_out_of_memory(run)
            return
        try:
            kernel = await self._pool.take(self.folder(run))
        except (RuntimeError, TimeoutError, OSError) as error:
            logger.warning("No kernel for run %d: %s", run.id, error)
            self._finish(run, RunStatus.ERROR, error=f"The kernel could not be started: {error}")
            return
        self._kernels[run.key] = kernel
        kernel.on_death = lambda: self._kernel_died(run)
        if kernel.execution_state == "dead":
            self._kernel_died(run)
        else:
            self._mark_running(run)

    def _is_too_small(self, run: Run) -> bool:
        cluster = self._store.get(Cluster, run.cluster_id) if run.cluster_id is not None else None
        return cluster is not None and cluster.is_too_small

    def _run_out_of_memory(self, run: Run) -> None:
        self._mark_running(run)
        error = out_of_memory.leave_marks(self.folder(run))
        self._finish(run, RunStatus.ERROR, exit_code=out_of_memory.EXIT_CODE, error=error)

    def _kernel_died(self, run: Run) -> None:
        if run.status.is_terminal or run.status is RunStatus.STOPPING:
            return
        self._finish(run, RunStatus(self._switches.dead_kernel_status), error="The kernel died.")
        self._in_background(-run.key, self._drop_kernel(run), f"kernel-died-{run.id}")

    async def _stop(self, run: Run, previous: asyncio.Task[None] | None) -> None:
        await asyncio.sleep(self._switches.stop_delay_seconds)
        if (job := self._jobs.get(run.key)) is not None:
            await job.stop()
        elif previous is not None:  # a notebook whose kernel is still being started
            previous.cancel()
        if previous is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await previous
        await self._drop_kernel(run)
        is_job, switches = run.type == "job", self._switches
        ends = switches.stopped_job_status if is_job else switches.stopped_notebook_status
        if not run.status.is_terminal:  # its start may have failed meanwhile
            self._finish(run, RunStatus(ends))

    async def _drop_kernel(self, run: Run) -> None:
        if (kernel := self._kernels.get(run.key)) is not None:
            await kernel.shutdown()
            self._kernels.pop(run.key, None)  # only here: until it has ended, `end_all` must find it

    def _mark_running(self, run: Run) -> None:
        run.started_at = now()
        if run.status is not RunStatus.STOPPING:  # it was stopped while it was being started
            self._set(run, RunStatus.RUNNING)

    def _finish(
        self, run: Run, status: RunStatus, *, exit_code: int | None = None, error: str | None = None
    ) -> None:
        run.ended_at, run.exit_code = now(), exit_code
        if error is not None:
            run.errors.append(error)
        self._set(run, status)
        logger.info("Run %d of %s ended: %s", run.id, run.definition_name, status)

    def _set(self, run: Run, status: RunStatus) -> None:
        run.status = status
        run.states.append(RunState(status=status))
        self._store.save(run)
