"""One look after the other at the server; what fails stops nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from yeedu_rescue.clock import ServedTime
from yeedu_rescue.crashed import Crashed
from yeedu_rescue.errors import LoginRefused, ServerError, ServerUnavailable
from yeedu_rescue.heartbeats import Heartbeats
from yeedu_rescue.isolation import Isolation
from yeedu_rescue.server import TIMEOUT_SECONDS
from yeedu_rescue.unstarted import Unstarted
from yeedu_rescue.worker_records import WorkerRecords

if TYPE_CHECKING:
    from collections.abc import Callable

    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings

logger = logging.getLogger(__name__)

# So much more between two answers than timeouts explain means that this machine slept, and all that is on it.
SLEPT_SECONDS = 30.0
# An outage that follows another one sooner only stops the clocks: otherwise a server that falls down over and
# over would keep dead runs for ever.
FORGIVEN_AGAIN_SECONDS = 600.0
_RULE_PAUSE_SECONDS = 60.0
# The server answers in half a minute, or is away; then the round ends.
STALLED_SECONDS = 120.0
_START = "this service starts"


class Rule(Protocol):
    """Something to be looked after.

    Attributes:
        isolation: Of the runs, or of what else it looks after.
    """

    isolation: Isolation

    def forgive(self) -> None:
        """The server was away: what it was not told meanwhile is nobody's fault."""
        ...

    def look(self) -> None:
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
        self._served = ServedTime(clock, settings.interval_seconds + TIMEOUT_SECONDS + SLEPT_SECONDS)
        server.listeners.append(self._served.note_answer)
        self._rules: dict[str, Rule] = {
            "silent runs": Heartbeats(server, settings, self._served),
            "runs that do not start": Unstarted(server, settings, self._served),
            "crashed runs": Crashed(server, settings, self._served),
            "worker records": WorkerRecords(server, settings, self._served),
        }
        self._isolation = Isolation(clock, _RULE_PAUSE_SECONDS)
        self._stalled_seconds = settings.interval_seconds + STALLED_SECONDS
        self._away = _START
        self._refused: LoginRefused | None = None
        self._lost_seconds = 0.0
        self._forgiven_at = clock() - FORGIVEN_AGAIN_SECONDS

    @property
    def troubles(self) -> list[str]:
        """What did not succeed in the last round, a sentence each."""
        if self._away:
            return [self._away]
        runs = (trouble for rule in self._rules.values() for trouble in rule.isolation.troubles)
        return [*self._isolation.troubles, *runs]

    @property
    def did_its_work(self) -> bool:
        """Whether the last round was lately and looked at everything, whatever came of a single run."""
        return self.silent_seconds < self._stalled_seconds and not (self._away or self._isolation.troubles)

    @property
    def silent_seconds(self) -> float:
        """How long ago the server answered for the last time."""
        return self._clock() - self._served.answered_at

    def go(self) -> None:
        """Do one round. A server that does not answer is waited for, whatever it takes.

        Raises:
            LoginRefused: The server refuses the login.
        """
        try:
            if self._away or self.silent_seconds > self._served.longest_seconds:
                self._server.check()
        except ServerError as error:
            self._note_outage(error)
            self._refused = error if isinstance(error, LoginRefused) else None
        else:
            self._note_answer()
            self._isolation.each(list(self._rules), str, lambda name: self._look(self._rules[name]))
        if self._refused:
            raise self._refused

    def _look(self, rule: Rule) -> None:
        try:
            rule.look()
        except LoginRefused as refused:
            self._refused = refused
            raise
        except ServerUnavailable:
            self._make_sure()
            raise
        if rule.isolation.misses_answers:
            self._make_sure()

    def _make_sure(self) -> None:
        """Tell a server that is away from one that does not answer one question."""
        try:
            self._server.check()
        except ServerError as error:
            self._note_outage(error)

    def _note_outage(self, error: ServerError) -> None:
        if self._away in {"", _START}:
            logger.warning("no rescue until the server answers: %s", error)
        self._away = str(error)
        self._served.stop()

    def _note_answer(self) -> None:
        lost_seconds = self._served.lost_seconds - self._lost_seconds
        why, self._away = self._away or (f"no look for {lost_seconds:.0f} s" if lost_seconds else ""), ""
        self._lost_seconds = self._served.lost_seconds
        self._served.go_on()
        if not why:
            return
        self._isolation.forgive()
        if why == _START:
            logger.info("the server answers")
        elif self._clock() - self._forgiven_at < FORGIVEN_AGAIN_SECONDS:
            logger.info("the server answers; clocks go on, they started anew lately: %s", why)
        else:
            logger.info("the server answers; all clocks start anew: %s", why)
            self._forgiven_at = self._clock()
            for rule in self._rules.values():
                rule.forgive()
