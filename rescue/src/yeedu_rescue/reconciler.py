"""The reconcile loop: applies every rule to the server, over and over; a failure stops nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from yeedu_rescue.errors import LoginRefused, ServerError, ServerUnavailable
from yeedu_rescue.failure_isolation import FailureIsolation
from yeedu_rescue.rules.heartbeats import Heartbeats
from yeedu_rescue.rules.restart_crashed import RestartCrashed
from yeedu_rescue.rules.unstarted import Unstarted
from yeedu_rescue.rules.worker_records import WorkerRecords
from yeedu_rescue.server import TIMEOUT_SECONDS
from yeedu_rescue.uptime import ServerUptime

if TYPE_CHECKING:
    from collections.abc import Callable

    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings

logger = logging.getLogger(__name__)

# A gap between two answers that exceeds every timeout by this much means that this machine was suspended.
SLEPT_SECONDS = 30.0
# An outage sooner after the last reset only pauses the clocks: otherwise a server that keeps crashing would
# keep dead runs alive for ever.
MIN_RESET_INTERVAL_SECONDS = 600.0
_MAX_RULE_BACKOFF_SECONDS = 60.0
# Longer than a pass takes while the server is up: it answers within half a minute, or counts as down.
STALLED_SECONDS = 120.0
_START = "this service starts"


class Rule(Protocol):
    """Keeps one kind of flow run, or record, in order.

    Attributes:
        isolation: Isolates the failures of single runs, or of whatever else the rule covers.
    """

    isolation: FailureIsolation

    def reset(self) -> None:
        """Restart all timeouts: the server was down, so missed heartbeats prove nothing."""
        ...

    def reconcile(self) -> None:
        """Find what is out of order, and fix it."""
        ...


class Reconciler:
    """Applies every rule, over and over; only time during which the server was up counts.

    Args:
        server: The server.
        settings: The rules' timeouts.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, server: Server, settings: Settings, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._uptime = ServerUptime(clock, settings.interval_seconds + TIMEOUT_SECONDS + SLEPT_SECONDS)
        server.listeners.append(self._uptime.note_answer)
        self._rules: dict[str, Rule] = {
            "silent runs": Heartbeats(server, settings, self._uptime),
            "runs that do not start": Unstarted(server, settings, self._uptime),
            "crashed runs": RestartCrashed(server, settings, self._uptime),
            "worker records": WorkerRecords(server, settings, self._uptime),
        }
        self._isolation = FailureIsolation(clock, _MAX_RULE_BACKOFF_SECONDS)
        self._stalled_seconds = settings.interval_seconds + STALLED_SECONDS
        self._away = _START
        self._refused: LoginRefused | None = None
        self._lost_seconds = 0.0
        self._reset_at = clock() - MIN_RESET_INTERVAL_SECONDS

    @property
    def failures(self) -> list[str]:
        """What failed in the last pass, one sentence each."""
        if self._away:
            return [self._away]
        runs = (trouble for rule in self._rules.values() for trouble in rule.isolation.failures)
        return [*self._isolation.failures, *runs]

    @property
    def is_working(self) -> bool:
        """Whether the last pass was recent and every rule ran; failures of single runs do not count."""
        return self.silent_seconds < self._stalled_seconds and not (self._away or self._isolation.failures)

    @property
    def silent_seconds(self) -> float:
        """The time since the server's latest answer."""
        return self._clock() - self._uptime.answered_at

    def run_once(self) -> None:
        """Apply every rule once, unless the server is down; the next call checks again.

        Raises:
            LoginRefused: The server rejects the login.
        """
        try:
            if self._away or self.silent_seconds > self._uptime.longest_seconds:
                self._server.check()
        except ServerError as error:
            self._note_outage(error)
            self._refused = error if isinstance(error, LoginRefused) else None
        else:
            self._note_answer()
            self._isolation.each(list(self._rules), str, lambda name: self._reconcile(self._rules[name]))
        if self._refused:
            raise self._refused

    def _reconcile(self, rule: Rule) -> None:
        try:
            rule.reconcile()
        except LoginRefused as refused:
            self._refused = refused
            raise
        except ServerUnavailable:
            self._check_server()
            raise
        if rule.isolation.misses_answers:
            self._check_server()

    def _check_server(self) -> None:
        """Find out whether the server is down, or only this request failed."""
        try:
            self._server.check()
        except ServerError as error:
            self._note_outage(error)

    def _note_outage(self, error: ServerError) -> None:
        if self._away in {"", _START}:
            logger.warning("paused until the server answers: %s", error)
        self._away = str(error)
        self._uptime.stop()

    def _note_answer(self) -> None:
        lost_seconds = self._uptime.lost_seconds - self._lost_seconds
        why, self._away = self._away or (f"no answer for {lost_seconds:.0f} s" if lost_seconds else ""), ""
        self._lost_seconds = self._uptime.lost_seconds
        self._uptime.go_on()
        if not why:
            return
        self._isolation.reset()
        if why == _START:
            logger.info("the server answers")
        elif self._clock() - self._reset_at < MIN_RESET_INTERVAL_SECONDS:
            logger.info("the server answers; timeouts resume, they were reset recently: %s", why)
        else:
            logger.info("the server answers; all timeouts are reset: %s", why)
            self._reset_at = self._clock()
            for rule in self._rules.values():
                rule.reset()
