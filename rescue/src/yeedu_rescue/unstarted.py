"""Runs that a worker claimed and that never started go back to their queue; after some times they crash."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from yeedu_rescue.flow_runs import FlowRun, crash, find, rescues, start_again

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings

KIND = "put back to its queue"
# Nobody puts a run without a work pool, a subflow for example, back to a queue; its caller may be slow.
_WITHOUT_POOL = 10.0


class Unstarted:
    """Judges runs that are PENDING, or that wait for a retry in a process which is gone.

    Args:
        server: The server.
        settings: How long a start may take, and how often it is tried.
    """

    def __init__(self, server: Server, settings: Settings) -> None:
        self._server = server
        self._pending_seconds = settings.pending_seconds
        self._attempts = settings.attempts
        self._scope = settings.scope
        self._seen: dict[str, float] = {}

    def forgive(self, now: float) -> None:
        """Count everybody's waiting from now on."""
        self._seen = dict.fromkeys(self._seen, now)

    def look(self, now: float) -> None:
        """Rescue the runs that wait for too long.

        Args:
            now: On a clock that never goes back.

        Raises:
            ServerError: See `errors`.
        """
        runs = [*self._pending(), *self._overdue()]
        self._seen = {run.id: self._seen.get(run.id, now) for run in runs}
        for run in runs:
            seconds = now - self._seen[run.id]
            limit_seconds = self._pending_seconds * (1.0 if run.work_pool else _WITHOUT_POOL)
            if seconds >= limit_seconds and self._rescue(run, seconds):
                del self._seen[run.id]

    def _pending(self) -> Iterator[FlowRun]:
        for run in find(self._server, self._scope, state={"type": {"any_": ["PENDING"]}}):
            if run.state_name != "NotReady":  # what it depends on failed: it has ended, in Prefect's way
                yield run

    def _overdue(self) -> Iterator[FlowRun]:
        now = self._server.time()
        for run in find(self._server, self._scope, state={"name": {"any_": ["AwaitingRetry"]}}):
            if run.retry_type == "in_process" and run.due and datetime.fromisoformat(run.due) < now:
                yield run

    def _rescue(self, run: FlowRun, seconds: float) -> bool:
        if run.state_type != "PENDING":
            why = f"its retry is {seconds:.0f} s late, so the process that ran it is gone"
            return crash(self._server, run, why)
        waited = f"{run.state_name} for {seconds:.0f} s, so its process never started"
        if not run.work_pool:
            return crash(self._server, run, waited)
        attempt = rescues(self._server, run, KIND) + 1
        if attempt > self._attempts:
            return crash(self._server, run, f"{waited}, as {self._attempts} times before")
        why = f"{KIND}, {attempt} of {self._attempts}: {waited}"
        return start_again(self._server, run, why, self._server.time())
