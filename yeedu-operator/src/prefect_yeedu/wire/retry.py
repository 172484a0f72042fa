"""When to try again, and how long to wait: deadlines, back-off, polling."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Protocol

from prefect_yeedu.errors import YeeduAPIError, YeeduError, YeeduTransportError

MAX_RETRY_AFTER_SECONDS = 60.0
CUBE_SHARE = 0.014
# Where an end is expected a run is looked at this often, and rather more seldom than more often than that.
DENSE_SECONDS = 4.8
MAX_DENSE_LOOKS = 120
# Before that, a longer wait than otherwise pays for it.
SPARSE_SECONDS = 20.0
# Not the module's own generator: a flow that seeds it gets the same numbers with and without waits.
_JITTER = random.SystemRandom()


class Clock(Protocol):
    """Time as the client sees it; tests give one of their own."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
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

    def limit(self, seconds: float) -> float:
        """Return a wait shortened so that it does not outlast the deadline."""
        if self.ends_at is None:
            return seconds
        return max(0.0, min(seconds, self.ends_at - self.clock.now()))


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how soon a failed call is repeated.

    Attributes:
        attempts: Calls in total, the first one included.
        first_wait_seconds: Wait after the first failure; it doubles each time.
        max_wait_seconds: Longest wait that the client chooses by itself.
    """

    attempts: int = 5
    first_wait_seconds: float = 0.25
    max_wait_seconds: float = 10.0

    def wait_seconds(self, failures: int, error: YeeduError) -> float:
        """Return how long to wait after so many failures in a row.

        A server's `Retry-After` goes before the doubling, up to a minute; jitter keeps clients apart.
        """
        asked = error.retry_after_seconds if isinstance(error, YeeduAPIError) else None
        if asked is not None:
            return min(asked, MAX_RETRY_AFTER_SECONDS)
        wait = self.first_wait_seconds * 2.0 ** min(failures - 1, 16)
        return min(wait, self.max_wait_seconds) * _JITTER.uniform(0.75, 1.0)


def retry_reason(error: YeeduError, *, is_repeatable: bool) -> str | None:
    """Return why a call may be made again, or None when it may not.

    Args:
        error: How the call failed.
        is_repeatable: Whether doing the call twice does no harm. If it does, only failures that prove that
            Yeedu did not act are a reason.
    """
    if isinstance(error, YeeduTransportError):
        if is_repeatable:
            return "the connection failed"
        return None if error.was_sent else "Yeedu could not be reached"
    if isinstance(error, YeeduAPIError) and error.is_retryable:
        if error.status == 429:
            return "Yeedu asks to be called less often"
        return f"Yeedu answered {error.status}" if is_repeatable else None
    return None


@dataclass
class PollSchedule:
    """Growing waits between looks at a run: soon at first, and few in an hour.

    The wait grows with the cube of the elapsed time, then with the time itself, up to the longest one. With
    the defaults the end of a run of two seconds is noticed within an eighth of a second, that of one up to
    half a minute within 0.3 of its time, any other within 10 seconds, 5 on average; an hour is 390 looks.

    Attributes:
        clock: Where time comes from.
        min_seconds: Shortest wait.
        max_seconds: Longest wait.
        share: Largest part of the elapsed time that one wait takes.
    """

    clock: Clock
    min_seconds: float = 0.125
    max_seconds: float = 10.0
    share: float = 0.3
    _started_at: float = field(init=False)
    _expected: tuple[float, float] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._started_at = self.clock.now()

    def expect_end(self, earliest_at: float, latest_at: float) -> None:
        """Look more often between two moments, and less often before.

        An end between them is noticed within 4.8 seconds, or, where they are more than ten minutes apart,
        within the 120th part of that time; one before them within 20 seconds.

        Args:
            earliest_at: When the run may have ended, on the schedule's clock.
            latest_at: When it should have; afterwards the schedule is what it was.
        """
        self._expected = (earliest_at, max(earliest_at, latest_at))

    def next_wait_seconds(self) -> float:
        """Return how long to wait now."""
        now = self.clock.now()
        elapsed = now - self._started_at
        growing = min(CUBE_SHARE * elapsed**3, self.share * elapsed)
        wait_seconds = min(max(self.min_seconds, growing), self._longest_seconds(now))
        if self._expected is not None and now < self._expected[0]:
            return min(wait_seconds, self._expected[0] - now)
        return wait_seconds

    def _longest_seconds(self, now: float) -> float:
        if self._expected is None:
            return self.max_seconds
        earliest_at, latest_at = self._expected
        if now < earliest_at:
            return max(SPARSE_SECONDS, self.max_seconds)
        if now < latest_at:
            return min(self.max_seconds, max(DENSE_SECONDS, (latest_at - earliest_at) / MAX_DENSE_LOOKS))
        return self.max_seconds
