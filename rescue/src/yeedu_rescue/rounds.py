"""One look after the other at the server; a break in its service puts all clocks back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from yeedu_rescue.crashed import Crashed
from yeedu_rescue.errors import ServerError
from yeedu_rescue.heartbeats import Heartbeats
from yeedu_rescue.unstarted import Unstarted
from yeedu_rescue.worker_records import WorkerRecords

if TYPE_CHECKING:
    from collections.abc import Callable

    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings

logger = logging.getLogger(__name__)

# A pause this long between two rounds means that this machine slept, and everything on it.
SLEPT_SECONDS = 30.0
_START = "this service starts"


class Rule(Protocol):
    """Something to be looked after."""

    def forgive(self, now: float) -> None:
        """The server was away: what it was not told meanwhile is nobody's fault."""
        ...

    def look(self, now: float) -> None:
        """Put in order what is not."""
        ...


class Rounds:
    """Applies every rule, over and over; only time in which the server was well counts.

    Args:
        server: The server.
        settings: How patient the rules are.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(self, server: Server, settings: Settings, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._rules: list[Rule] = [
            rule(server, settings) for rule in (Heartbeats, Unstarted, Crashed, WorkerRecords)
        ]
        self._trouble = _START
        self.ended_at = clock()

    @property
    def trouble(self) -> str:
        """Why the last round did not succeed; empty when it did."""
        return self._trouble

    def go(self) -> None:
        """Do one round. A server that does not answer is waited for, whatever it takes."""
        now = self._clock()
        slept_seconds = now - self.ended_at
        try:
            self._server.check()
            if self._trouble or slept_seconds > SLEPT_SECONDS:
                why = self._trouble or f"no look for {slept_seconds:.0f} s"
                logger.info("the server answers; all clocks start anew: %s", why)
                for rule in self._rules:
                    rule.forgive(now)
                self._trouble = ""
            for rule in self._rules:
                rule.look(self._clock())
        except ServerError as error:
            if self._trouble in {"", _START}:
                logger.warning("no rescue until the server answers: %s", error)
            self._trouble = str(error)
        self.ended_at = self._clock()
