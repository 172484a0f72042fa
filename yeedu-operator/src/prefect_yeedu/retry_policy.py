"""Retry policies with backoff, poll intervals, deadlines, and the clock that they all use."""

from __future__ import annotations

import logging
import random
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from prefect_yeedu.errors import YeeduAPIError, YeeduStopRequested
from prefect_yeedu.failures import Failure, classify, reason

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator

    from prefect_yeedu.errors import YeeduError

logger = logging.getLogger(__name__)

MAX_RETRY_AFTER_SECONDS = 60.0
CUBE_SHARE = 0.014
# How long an interrupted wait goes on at most.
INTERRUPT_SECONDS = 0.5
# Failures of a call that last longer are told of.
UNTOLD_SECONDS = 5.0
# Not the module's own generator: a flow that seeds it gets the same numbers with and without waits.
_JITTER = random.SystemRandom()


_TELL: ContextVar[Callable[[str], None] | None] = ContextVar("prefect_yeedu_tell", default=None)


@contextmanager
def telling(tell: Callable[[str], None]) -> Generator[None]:
    """Have somebody told, once for each call, that it fails for longer than a few seconds and is repeated.

    Args:
        tell: Takes a sentence. Threads that are given a copy of the context tell it as well.
    """
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


class Clock(Protocol):
    """Time as this package sees it; tests inject their own."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; may raise `YeeduStopRequested` when nobody wants the wait's outcome any more."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; a signal handler that raises ends the wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Deadline:
    """A point in time after which waiting ends; without a budget it never comes."""

    clock: Clock
    ends_at: float | None = None

    @classmethod
    def after(cls, clock: Clock, seconds: float | None) -> Deadline:
        """Return the deadline that comes in so many seconds; None never comes."""
        return cls(clock, None if seconds is None else clock.now() + seconds)

    @property
    def has_passed(self) -> bool:
        """Whether it is over."""
        return self.ends_at is not None and self.clock.now() >= self.ends_at

    @property
    def seconds_left(self) -> float | None:
        """How long it is until then; None where it never comes."""
        return None if self.ends_at is None else max(0.0, self.ends_at - self.clock.now())

    def limit(self, seconds: float) -> float:
        """Return a wait shortened so that it does not outlast the deadline."""
        if self.ends_at is None:
            return seconds
        return max(0.0, min(seconds, self.ends_at - self.clock.now()))


@dataclass(frozen=True)
class InterruptibleClock:
    """Another clock, whose waits end soon after an event.

    Attributes:
        clock: Where time comes from.
        interrupted: Set when nobody wants the outcome of what waits.
        text: What has not been done then, for the error.
    """

    clock: Clock
    interrupted: threading.Event
    text: str

    def now(self) -> float:
        """Return what the other clock says."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """Wait on the other clock.

        Raises:
            YeeduStopRequested: The event is set.
        """
        deadline = Deadline.after(self.clock, seconds)
        while not self.interrupted.is_set() and not deadline.has_passed:
            self.clock.sleep(deadline.limit(INTERRUPT_SECONDS))
        if self.interrupted.is_set():
            raise YeeduStopRequested(self.text)


@dataclass(frozen=True)
class RetryPolicy:
    """How often, how soon and how long a call that fails is repeated.

    Attributes:
        attempts: Calls in total, the first one included; None for as many as the budget allows.
        budget_seconds: How long failures in a row may last; None for as many as the attempts allow.
        first_wait_seconds: Wait after the first failure; it doubles each time.
        max_wait_seconds: Longest wait that this side chooses; `Retry-After` may ask for up to 60 seconds.
    """

    attempts: int | None = 5
    budget_seconds: float | None = None
    first_wait_seconds: float = 0.25
    max_wait_seconds: float = 10.0

    def start(self, clock: Clock) -> Trial:
        """Return the count of one call's failures, which begins now."""
        return Trial(self, clock)


ONCE = RetryPolicy(attempts=1)


@dataclass
class Trial:
    """Failures in a row of one call, or of calls that ask for the same thing.

    Attributes:
        retries: What is allowed.
        clock: Where time comes from.
        failures: Failures since the last success.
        failing_since: When the first of them came; None while there is none.
        is_told: Whether somebody was told of them.
    """

    retries: RetryPolicy
    clock: Clock
    failures: int = 0
    failing_since: float | None = None
    is_told: bool = False

    def succeed(self) -> None:
        """Forget the failures so far."""
        self.failures, self.failing_since, self.is_told = 0, None, False

    def fail(self, error: YeeduError) -> float | None:
        """Count a failure; return how long to wait before the next call, or None to give up.

        Only transient failures are worth another call.
        """
        now = self.clock.now()
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now
        if classify(error) is not Failure.TRANSIENT:
            return None
        allowed, budget = self.retries.attempts, self.retries.budget_seconds
        if allowed is not None and self.failures >= allowed:
            return None
        wait_seconds = self._wait_seconds(error)
        if budget is not None and now + wait_seconds - self.failing_since > budget:
            return None
        return wait_seconds

    def wait(self, error: YeeduError, what: str) -> None:
        """Count a failure and wait until the next call may be made.

        Args:
            error: How the call failed.
            what: What was asked, such as `about run 7`, for the log.

        Raises:
            YeeduError: The given one, when the call is not to be repeated.
        """
        wait_seconds = self.fail(error)
        if wait_seconds is None:
            raise error
        text = f"Asking Yeedu {what} again in {wait_seconds:.1f} s: {reason(error)}."
        logger.info("%s", text)
        self._tell(text, wait_seconds)
        self.clock.sleep(wait_seconds)

    def _tell(self, text: str, wait_seconds: float) -> None:
        tell, now = _TELL.get(), self.clock.now()
        lasting = now + wait_seconds - (now if self.failing_since is None else self.failing_since)
        if tell is not None and not self.is_told and lasting > UNTOLD_SECONDS:
            self.is_told = True
            tell(text)

    def _wait_seconds(self, error: YeeduError) -> float:
        asked = error.retry_after_seconds if isinstance(error, YeeduAPIError) else None
        if asked is not None:
            return min(asked, MAX_RETRY_AFTER_SECONDS)
        retries = self.retries
        wait = retries.first_wait_seconds * 2.0 ** min(self.failures - 1, 16)
        return min(wait, retries.max_wait_seconds) * _JITTER.uniform(0.75, 1.0)


@dataclass
class PollSchedule:
    """Growing waits between looks at a run: soon at first, and few in an hour.

    The wait grows with the cube of the elapsed time, then with the time itself, up to the longest one. With
    the defaults the end of a run of two seconds is noticed within an eighth of a second, that of one up to
    43 seconds within 0.3 of its time, any other within 13 seconds, 6.5 on average; an hour is 300 looks.

    Attributes:
        clock: Where time comes from.
        min_seconds: Shortest wait.
        max_seconds: Longest wait.
        share: Largest part of the elapsed time that one wait takes.
    """

    clock: Clock
    min_seconds: float = 0.125
    max_seconds: float = 13.0
    share: float = 0.3
    _started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_at = self.clock.now()

    def next_wait_seconds(self) -> float:
        """Return how long to wait now."""
        elapsed = self.clock.now() - self._started_at
        growing = min(CUBE_SHARE * elapsed**3, self.share * elapsed)
        return min(max(self.min_seconds, growing), self.max_seconds)
