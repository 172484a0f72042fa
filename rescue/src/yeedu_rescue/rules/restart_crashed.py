"""Restarts CRASHED runs whose deployment has the tag ``retry-crashed``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from yeedu_rescue.failure_isolation import FailureIsolation
from yeedu_rescue.flow_runs import MARK, FlowRun, find, rescues, start_again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings
    from yeedu_rescue.uptime import ServerUptime

KIND = "started again"
_TAG = re.compile(r"retry-crashed(?::(\d{1,3}))?")
_DEFAULT_TIMES = 3
_FIRST_DELAY_SECONDS = 5.0
_RECENT = timedelta(hours=1)  # older runs crashed before they got the tag, or are not waited for


class RestartCrashed:
    """Restarts CRASHED runs a bounded number of times, with backoff.

    Args:
        server: The server.
        settings: The work pools that this service covers.
        clock: Seconds during which the server was up.
    """

    def __init__(self, server: Server, settings: Settings, clock: ServerUptime) -> None:
        self._server = server
        self._clock = clock
        self._scope = settings.scope
        self._given_up: dict[str, float] = {}
        self.isolation = FailureIsolation(clock)

    def reset(self) -> None:
        """Retry what failed; there are no other timeouts here."""
        self.isolation.reset()

    def reconcile(self) -> None:
        """Restart crashed runs that have the tag.

        Raises:
            ServerError: See `errors`.
        """
        since = (self._server.time() - _RECENT).isoformat()
        ended = {"state": {"type": {"any_": ["CRASHED"]}}, "end_time": {"after_": since}}
        wanting = [
            run
            for run in find(self._server, self._scope, **ended)
            if wanted_times(run.tags) and run.deployment_id and run.work_pool
        ]
        now = self._clock()
        self._given_up = {
            state_id: at for state_id, at in self._given_up.items() if now - at < 2 * _RECENT.total_seconds()
        }
        self.isolation.keep([run.id for run in wanting])
        self.isolation.each(
            [run for run in wanting if run.state_id not in self._given_up],
            lambda run: run.id,
            lambda run: self._start_again(run, wanted_times(run.tags), now),
        )

    def _start_again(self, run: FlowRun, times: int, now: float) -> None:
        attempt = rescues(self._server, run, KIND) + 1
        if attempt > times:
            self._given_up[run.state_id] = now  # so that its history is not read again in each pass
            return
        pause = timedelta(seconds=_FIRST_DELAY_SECONDS * 4 ** (attempt - 1))
        start_again(
            self._server,
            run,
            f"{KIND}, {attempt} of {times}: {run.state_message.removeprefix(MARK)}",
            self._server.time() + pause,
        )


def wanted_times(tags: Sequence[str]) -> int:
    """Return how often a run with these tags is to be restarted after a crash; 0 for never."""
    found = [match for tag in tags if (match := _TAG.fullmatch(tag))]
    return max((int(match[1]) if match[1] else _DEFAULT_TIMES for match in found), default=0)
