"""The one place that takes Prefect's way of joining a method and its async twin, which is not public."""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect._internal.compatibility.async_dispatch import async_dispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
R = TypeVar("R")


def with_async_twin(
    twin: Callable[..., Coroutine[Any, Any, Any]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a method return its twin's coroutine in async code: an async flow or task, or a coroutine.

    To a type checker it stays the plain method; who wants the coroutine's type calls the twin by its name. A
    thread without an event loop gets the plain method even if an async flow started it.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        dispatched = cast("Callable[P, R]", async_dispatch(twin)(method))

        @wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if "_sync" not in kwargs and not _has_running_loop():
                return method(*args, **kwargs)
            return dispatched(*args, **kwargs)

        call.__dict__["aio"] = twin  # where Prefect's own code looks for the twin
        return call

    return decorate


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
