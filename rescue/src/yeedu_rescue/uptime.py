"""A clock that runs only while the server is up: timeouts must not expire during an outage."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ServerUptime:
    """Counts the seconds during which the server was up, from one answer to the next.

    A slow answer counts in full. An outage does not, and neither does a suspend of this machine: a gap
    between two answers that is longer than any timeout.

    Args:
        clock: A monotonic clock, in seconds.
        longest_seconds: The longest gap between two answers of a server that is up.
    """

    def __init__(self, clock: Callable[[], float], longest_seconds: float) -> None:
        self._clock = clock
        self.longest_seconds = longest_seconds
        self._lock = threading.Lock()
        self._runs = False
        self._seconds = 0.0
        self.answered_at = clock()
        self.lost_seconds = 0.0

    def __call__(self) -> float:
        """Return the counted seconds, as of the latest answer."""
        return self._seconds

    def note_answer(self) -> None:
        """Record that the server has just answered, whatever the answer was."""
        with self._lock:
            now = self._clock()
            gap, self.answered_at = now - self.answered_at, now
            if self._runs and gap <= self.longest_seconds:
                self._seconds += gap
            else:
                self.lost_seconds += gap

    def stop(self) -> None:
        """Pause: the server is down, so time since its latest answer does not count."""
        self._runs = False

    def go_on(self) -> None:
        """Resume: the server is back, and has just answered."""
        self._runs = True
