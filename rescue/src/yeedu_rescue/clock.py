"""A clock that runs only while the server answers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ServedTime:
    """Counts the seconds in which the server was there, from one of its answers to the next.

    A slow answer counts in full. An outage does not, and neither does a sleep of this machine, which is a gap
    between two answers that no timeout explains.

    Args:
        clock: Seconds on a clock that never goes back.
        longest_seconds: The longest gap between two answers of a server that is there.
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
        """Return the seconds that count, as of the latest answer."""
        return self._seconds

    def note_answer(self) -> None:
        """The server has just answered, whatever it said."""
        with self._lock:
            now = self._clock()
            gap, self.answered_at = now - self.answered_at, now
            if self._runs and gap <= self.longest_seconds:
                self._seconds += gap
            else:
                self.lost_seconds += gap

    def stop(self) -> None:
        """The server is away: what passes from its latest answer on does not count."""
        self._runs = False

    def go_on(self) -> None:
        """The server is back, and has just answered."""
        self._runs = True
