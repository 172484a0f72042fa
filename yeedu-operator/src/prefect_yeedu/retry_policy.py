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
# The longest that a wait goes on after it was interrupted.
INTERRUPT_SECONDS = 0.5
# Failures of a call that last longer than this are reported.
UNTOLD_SECONDS = 5.0
# A separate generator: a flow that seeds `random` gets the same numbers with and without waits.
_JITTER = random.SystemRandom()


_TELL: ContextVar[Callable[[str], None] | None] = ContextVar("prefect_yeedu_tell", default=None)


@contextmanager
def telling(tell: Callable[[str], None]) -> Generator[None]:
    """Report, once for each call, that it has been failing for more than a few seconds and is repeated.

    Args:
        tell: Receives the sentence; also from threads that run in a copy of this context.
    """
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


class Clock(Protocol):
    """Time as this package sees it; tests inject their own."""

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; may raise `YeeduStopRequested` if the outcome is not wanted any more."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""
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
        """Return the deadline that many seconds from now; with None it never comes."""
        return cls(clock, None if seconds is None else clock.now() + seconds)

    @property
    def has_passed(self) -> bool:
        """Whether the deadline has passed."""
        return self.ends_at is not None and self.clock.now() >= self.ends_at

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline; None if it never comes."""
        return None if self.ends_at is None else max(0.0, self.ends_at - self.clock.now())

    def limit(self, seconds: float) -> float:
        """Return a wait shortened so that it does not outlast the deadline."""
        if self.ends_at is None:
            return seconds
        return max(0.0, min(seconds, self.ends_at - self.clock.now()))


@dataclass(frozen=True)
class InterruptibleClock:
    """A clock whose waits end soon after an event is set.

    Attributes:
        clock: The clock behind it.
        interrupted: Set when the outcome of the wait is not wanted any more.
        text: The error's text, which says what was not done.
    """

    clock: Clock
    interrupted: threading.Event
    text: str

    def now(self) -> float:
        """Return the time of the clock behind it."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """Wait on the clock behind it.

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
        budget_seconds: How long consecutive failures may last; None for as long as the attempts allow.
        first_wait_seconds: Wait after the first failure; it doubles each time.
        max_wait_seconds: Longest wait that this side chooses; `Retry-After` may ask for up to 60 seconds.
    """

    attempts: int | None = 5
    budget_seconds: float | None = None
    first_wait_seconds: float = 0.25
    max_wait_seconds: float = 10.0

    def start(self, clock: Clock) -> Trial:
        """Start counting the failures of one call."""
        return Trial(self, clock)


ONCE = RetryPolicy(attempts=1)


@dataclass
class Trial:
    """Consecutive failures of one call, or of calls that ask for the same thing.

    Attributes:
        retries: The retry policy.
        clock: The source of time.
        failures: Failures since the last success.
        failing_since: When the first of them happened; None while there is none.
        is_told: Whether they were reported.
    """

    retries: RetryPolicy
    clock: Clock
    failures: int = 0
    failing_since: float | None = None
    is_told: bool = False

    def succeed(self) -> None:
        """Reset the count of failures."""
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
            YeeduError: The given one, if the call must not be repeated.
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
    """Growing waits between polls of a run: short at first, and few in an hour.

    The wait grows with the cube of the elapsed time, then in proportion to it, up to the longest wait. With
    the defaults, the end of a two-second run is noticed within 0.125 s, that of a run of up to 43 s within
    0.3 of its duration, and any other within 13 s (6.5 s on average); an hour takes 300 polls.

    Attributes:
        clock: The source of time.
        min_seconds: Shortest wait.
        max_seconds: Longest wait.
        share: Largest share of the elapsed time that one wait takes.
    """

    clock: Clock
    min_seconds: float = 0.125
    max_seconds: float = 13.0
    share: float = 0.3
    _started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_at = self.clock.now()

    def next_wait_seconds(self) -> float:
        """Return how long to wait before the next poll."""
        elapsed = self.clock.now() - self._started_at
        growing = min(CUBE_SHARE * elapsed**3, self.share * elapsed)
        return min(max(self.min_seconds, growing), self.max_seconds)
