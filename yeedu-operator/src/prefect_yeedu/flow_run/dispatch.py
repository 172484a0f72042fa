"""Dispatches a method to its async twin in async code, as Prefect does with its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect.context import get_run_context
from prefect.exceptions import MissingContextError

from prefect_yeedu.flow_run.run_logging import find_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

P = ParamSpec("P")
R = TypeVar("R")


def with_async_twin(
    twin: Callable[..., Coroutine[Any, Any, Any]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a method return its twin's coroutine in async code: an async flow or task, or a coroutine.

    To a type checker it stays the plain method; call the twin by its name to get the coroutine's type. A
    thread without an event loop gets the plain method, even if an async flow started it.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        @wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            is_sync = kwargs.pop("_sync", None)  # which Prefect's own methods take too
            if is_sync or (is_sync is None and not _is_async()):
                return method(*args, **kwargs)
            return cast("R", _Awaited(twin(*args, **kwargs), method.__name__))

        call.__dict__["aio"] = twin  # where Prefect's own code looks for the twin
        return call

    return decorate


class _Awaited(Coroutine[Any, Any, Any]):
    """A method's coroutine that logs an error in the run's log if it is dropped without being awaited.

    Dropping an object cannot raise, so the flow run itself goes on.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        self._coroutine, self._name = coroutine, name
        self._logger = find_logger()
        self._is_begun = False

    def __await__(self) -> Generator[Any, Any, Any]:
        self._is_begun = True
        return self._coroutine.__await__()

    def send(self, value: Any, /) -> Any:
        self._is_begun = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._is_begun = True
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._is_begun = True
        self._coroutine.close()

    def __del__(self) -> None:
        if not self._is_begun:
            self._coroutine.close()
            self._logger.error(
                "%s() was called in async code without await, so that nothing was done; write await %s().",
                self._name,
                self._name,
            )


def _is_async() -> bool:
    """Return whether the caller is async: its flow or task is, or outside of both an event loop runs."""
    if not _has_running_loop():
        return False
    try:
        run = get_run_context()
    except MissingContextError:
        return True
    return bool(getattr(getattr(run, "task", None) or getattr(run, "flow", None), "isasync", True))


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
