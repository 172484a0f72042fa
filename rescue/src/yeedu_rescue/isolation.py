"""Keeps what fails from what does not: one that fails is told, tried less often, and stops no other."""

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
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 600.0
# So many at a time: a server whose every answer is late, or one run that gets none, is waited for only once.
_AT_ONCE = 8


@dataclass
class _Failure:
    told: str
    pause_seconds: float
    again_at: float


class Isolation:
    """Does something to each of many, each by itself.

    Args:
        clock: Seconds on a clock that never goes back.
        longest_pause_seconds: Between two tries of what always fails.
    """

    def __init__(
        self, clock: Callable[[], float], longest_pause_seconds: float = LONGEST_PAUSE_SECONDS
    ) -> None:
        self._clock = clock
        self._longest_pause_seconds = longest_pause_seconds
        self._failures: dict[str, _Failure] = {}
        self.misses_answers = False

    @property
    def troubles(self) -> list[str]:
        """What fails, a sentence each."""
        return [failure.told for _, failure in sorted(dict(self._failures).items())]

    def forgive(self) -> None:
        """Try everything again at once: what failed may have failed because the server was away."""
        self._failures.clear()

    def keep(self, keys: Collection[str]) -> None:
        """Forget what is not there any more."""
        self._failures = {key: failure for key, failure in self._failures.items() if key in keys}

    def each(self, items: Sequence[T], key: Callable[[T], str], do: Callable[[T], object]) -> None:
        """Do it to each that did not fail lately, some at a time.

        Args:
            items: What there is.
            key: What an item is known by from one time to the next.
            do: May raise.
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
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this one, it is not with the others
            self._note(item, key, f"{type(error).__name__}: {error}")
        else:
            self._failures.pop(key, None)

    def _note(self, item: object, key: str, why: str) -> None:
        last = self._failures.get(key)
        pause_seconds = (
            min(2 * last.pause_seconds, self._longest_pause_seconds) if last else FIRST_PAUSE_SECONDS
        )
        told = f"{item}: {why}"
        self._failures[key] = _Failure(told, pause_seconds, self._clock() + pause_seconds)
        logger.warning("%s; tried again in %.0f s", told, pause_seconds)
