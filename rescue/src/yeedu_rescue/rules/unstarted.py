"""Puts runs that a worker claimed but never started back into their queue; finally crashes them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from yeedu_rescue.failure_isolation import FailureIsolation
from yeedu_rescue.flow_runs import FlowRun, crash, find, has_ended, rescues, start_again
from yeedu_rescue.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings
    from yeedu_rescue.uptime import ServerUptime

KIND = "put back to its queue"
# A run without a work pool, such as a subflow, has no queue to return to, and its caller may be slow. So may
# a process that has to retry, if no worker of this platform has it.
_ELSEWHERE = 10.0
_LEFT_ALONE_SECONDS = 30.0


class Unstarted:
    """Rescues runs that are stuck in PENDING, or that wait for a retry in a process that is gone.

    Other types of workers may take long to start a run, to pull an image or provision a machine. Their runs
    are left alone; so are those of other process workers while the worker is online.

    Args:
        server: The server.
        settings: How long a start may take, and how often it is retried.
        clock: Seconds during which the server was up.
    """

    def __init__(self, server: Server, settings: Settings, clock: ServerUptime) -> None:
        self._server = server
        self._clock = clock
        self._pending_seconds = settings.pending_seconds
        self._attempts = settings.attempts
        self._scope = settings.scope
        self._workers = Workers(server, clock)
        self._seen: dict[str, float] = {}
        self._left_alone: dict[str, float] = {}
        self.isolation = FailureIsolation(clock)

    def reset(self) -> None:
        """Restart the timeout of every run."""
        self._seen.clear()
        self.isolation.reset()

    def reconcile(self) -> None:
        """Rescue the runs that have waited too long.

        Raises:
            ServerError: See `errors`.
        """
        runs = [*self._pending(), *self._overdue()]
        now = self._clock()
        self._seen = {run.state_id: self._seen.get(run.state_id, now) for run in runs}
        self._left_alone = {key: at for key, at in self._left_alone.items() if key in self._seen}
        self.isolation.keep([run.id for run in runs])
        waiting = [
            run
            for run in runs
            if now - self._seen[run.state_id] >= self._limit_seconds(run)
            and now >= self._left_alone.get(run.state_id, now)
        ]
        self.isolation.each(
            waiting, lambda run: run.id, lambda run: self._rescue(run, now - self._seen[run.state_id])
        )

    def _limit_seconds(self, run: FlowRun) -> float:
        is_elsewhere = not run.work_pool or (run.state_type != "PENDING" and not run.is_ours)
        return self._pending_seconds * (_ELSEWHERE if is_elsewhere else 1.0)

    def _pending(self) -> Iterator[FlowRun]:
        for run in find(self._server, self._scope, state={"type": {"any_": ["PENDING"]}}):
            if run.state_name != "NotReady":  # a dependency failed: to Prefect, the run has ended
                yield run

    def _overdue(self) -> Iterator[FlowRun]:
        now = self._server.time()
        for run in find(self._server, self._scope, state={"name": {"any_": ["AwaitingRetry"]}}):
            if run.retry_type == "in_process" and run.due and datetime.fromisoformat(run.due) < now:
                yield run

    def _rescue(self, run: FlowRun, seconds: float) -> None:
        if run.state_type != "PENDING":
            why = f"its retry is {seconds:.0f} s late, so the process that ran it is gone"
            crash(self._server, run, why)
            return
        if self._may_start_yet(run):
            self._left_alone[run.state_id] = self._clock() + _LEFT_ALONE_SECONDS
            return
        waited = f"{run.state_name} for {seconds:.0f} s, so its process never started"
        if not run.work_pool:
            crash(self._server, run, waited)
            return
        attempt = rescues(self._server, run, KIND) + 1
        if attempt > self._attempts:
            crash(self._server, run, f"{waited}, as {self._attempts} times before")
            return
        why = f"{KIND}, {attempt} of {self._attempts}: {waited}"
        start_again(self._server, run, why, self._server.time())

    def _may_start_yet(self, run: FlowRun) -> bool:
        """Return whether something other than this platform's workers may still start a run."""
        if run.parent_task_run:  # a subflow waits for its inputs, and its caller's process starts it
            return not has_ended(self._server, run.parent_task_run)
        if run.is_ours or not run.work_pool:
            return False
        if not self._workers.are_processes(run.work_pool):
            return True
        # A worker reports its name right after the claim; if there is none, it died in between.
        return bool(run.worker) and not self._workers.is_gone(run)
