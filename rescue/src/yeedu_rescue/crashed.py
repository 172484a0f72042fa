"""CRASHED runs start again where their deployment asks for it, by the tag ``retry-crashed``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from yeedu_rescue.flow_runs import MARK, FlowRun, find, rescues, start_again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings

KIND = "started again"
_TAG = re.compile(r"retry-crashed(?::(\d{1,3}))?")
_DEFAULT_TIMES = 3
_FIRST_DELAY_SECONDS = 5.0
_RECENT = timedelta(hours=1)  # older ones were crashed before the tag was there, or nobody waits for them


class Crashed:
    """Starts CRASHED runs again, a bounded number of times, each time after a longer pause.

    Args:
        server: The server.
        settings: What is looked after.
    """

    def __init__(self, server: Server, settings: Settings) -> None:
        self._server = server
        self._scope = settings.scope
        self._given_up: dict[str, float] = {}

    def forgive(self, now: float) -> None:
        """Nothing is held against anybody here."""

    def look(self, now: float) -> None:
        """Start again what asks for it.

        Args:
            now: On a clock that never goes back.

        Raises:
            ServerError: See `errors`.
        """
        since = (self._server.time() - _RECENT).isoformat()
        ended = {"state": {"type": {"any_": ["CRASHED"]}}, "end_time": {"after_": since}}
        found = find(self._server, self._scope, **ended)
        self._given_up = {
            state_id: at for state_id, at in self._given_up.items() if now - at < 2 * _RECENT.total_seconds()
        }
        for run in found:
            times = wanted_times(run.tags)
            if times and run.deployment_id and run.work_pool and run.state_id not in self._given_up:
                self._start_again(run, times, now)

    def _start_again(self, run: FlowRun, times: int, now: float) -> None:
        attempt = rescues(self._server, run, KIND) + 1
        if attempt > times:
            self._given_up[run.state_id] = now  # so that its history is not read again in every round
            return
        pause = timedelta(seconds=_FIRST_DELAY_SECONDS * 4 ** (attempt - 1))
        start_again(
            self._server,
            run,
            f"{KIND}, {attempt} of {times}: {run.state_message.removeprefix(MARK)}",
            self._server.time() + pause,
        )


def wanted_times(tags: Sequence[str]) -> int:
    """Return how often a run with these tags wants to be started again after a crash; 0 for never."""
    found = [match for tag in tags if (match := _TAG.fullmatch(tag))]
    return max((int(match[1]) if match[1] else _DEFAULT_TIMES for match in found), default=0)
