"""Remembers the latest requests with their times."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

MAX_ENTRIES = 20_000


@dataclass(frozen=True)
class Entry:
    """One request or websocket, entered when it ended.

    Attributes:
        number: Its number, counted in the order in which requests began.
        at_seconds: When it began, on the clock of `time.time()`.
        method: GET, POST, ...; WS for a websocket.
        path: Path and query, without tokens.
        status: The answer's status; 101 for an accepted websocket, None when the connection was dropped.
        duration_seconds: How long it took.
    """

    number: int
    at_seconds: float
    method: str
    path: str
    status: int | None
    duration_seconds: float


class Journal:
    """The latest requests, the oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._begun = 0

    def next_number(self) -> int:
        """Return the number of a request that begins now."""
        self._begun += 1
        return self._begun

    def enter(self, entry: Entry) -> None:
        """Remember a request."""
        self._entries.append(entry)

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the requests that began after the given number, in the order they began."""
        entries = sorted((entry for entry in self._entries if entry.number > number), key=lambda e: e.number)
        return [asdict(entry) for entry in entries]

    def clear(self) -> None:
        """Forget every request; numbering goes on."""
        self._entries.clear()
