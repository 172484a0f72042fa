"""Isolates failures: an item that fails is logged and retried with backoff, and delays no other item."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from yeedu_rescue.errors import ServerError, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

logger = logging.getLogger(__name__)

T = TypeVar("T")
INITIAL_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 10.0, 600.0
# Items in parallel, so that a slow server, or one run that gets no answer, is waited for only once.
_AT_ONCE = 8


@dataclass
class _Failure:
    told: str
    pause_seconds: float
    again_at: float


class FailureIsolation:
    """Applies a function to each of many items, isolated from each other.

    Args:
        clock: A monotonic clock, in seconds.
        max_backoff_seconds: The longest pause before an item that keeps failing is retried.
    """

    def __init__(self, clock: Callable[[], float], max_backoff_seconds: float = MAX_BACKOFF_SECONDS) -> None:
        self._clock = clock
        self._max_backoff_seconds = max_backoff_seconds
        self._failures: dict[str, _Failure] = {}
        self.misses_answers = False

    @property
    def failures(self) -> list[str]:
        """What is failing, one sentence each."""
        return [failure.told for _, failure in sorted(dict(self._failures).items())]

    def reset(self) -> None:
        """Retry everything at once: it may have failed because the server was down."""
        self._failures.clear()

    def keep(self, keys: Collection[str]) -> None:
        """Forget the failures of items that are gone."""
        self._failures = {key: failure for key, failure in self._failures.items() if key in keys}

    def each(self, items: Sequence[T], key: Callable[[T], str], do: Callable[[T], object]) -> None:
        """Apply a function to each item that is not backing off, a few at a time.

        Args:
            items: All items.
            key: Returns what identifies an item from one call to the next.
            do: The function; it may raise.
        """
        self.misses_answers = False
        due = [item for item in items if self._is_due(key(item))]
        if len(due) <= 1:
            for item in due:
                self._try(item, key(item), do)
            return
        with ThreadPoolExecutor(min(_AT_ONCE, len(due)), "rescue") as pool:
            for item in due:
                pool.submit(self._try, item, key(item), do)

    def _is_due(self, key: str) -> bool:
        failure = self._failures.get(key)
        return failure is None or self._clock() >= failure.again_at

    def _try(self, item: T, key: str, do: Callable[[T], object]) -> None:
        try:
            do(item)
        except ServerError as error:
            self.misses_answers |= isinstance(error, ServerUnavailable)
            self._note(item, key, str(error))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this item must not stop the others
            self._note(item, key, f"{type(error).__name__}: {error}")
        else:
            self._failures.pop(key, None)

    def _note(self, item: object, key: str, why: str) -> None:
        last = self._failures.get(key)
        pause_seconds = (
            min(2 * last.pause_seconds, self._max_backoff_seconds) if last else INITIAL_BACKOFF_SECONDS
        )
        told = f"{item}: {why}"
        self._failures[key] = _Failure(told, pause_seconds, self._clock() + pause_seconds)
        logger.warning("%s; retrying in %.0f s", told, pause_seconds)
