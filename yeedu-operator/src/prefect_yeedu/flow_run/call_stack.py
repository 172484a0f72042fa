"""Tells whether a flow's own code makes a call and waits for it, even if a thread does the work."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

import prefect.flow_engine
from prefect.context import FlowRunContext, TaskRunContext

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

Context = TypeVar("Context", FlowRunContext, TaskRunContext)

_STEP_OF_A_LOOP = asyncio.Handle._run.__code__  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
_FLOW_ENGINE = prefect.flow_engine.__file__
_of_the_caller: ContextVar[bool | None] = ContextVar("is_called_by_the_flow", default=None)


def is_called_by_the_flow() -> bool:
    """Return whether the flow's own code waits for this call, and so makes no other one meanwhile.

    What an event loop runs beside the flow (`asyncio.gather`, `create_task`) has its own stack, which begins
    at the loop even if the flow itself started it.
    """
    known = _of_the_caller.get()
    if known is not None:
        return known
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not _STEP_OF_A_LOOP:
        if frame.f_code.co_filename == _FLOW_ENGINE:
            return True
        frame = frame.f_back
    return False


@contextmanager
def kept_for_a_thread() -> Generator[None]:
    """Keep the answer of `is_called_by_the_flow` for threads that run in a copy of this context."""
    token = _of_the_caller.set(is_called_by_the_flow())
    try:
        yield
    finally:
        _of_the_caller.reset(token)


def outward(context: Context | None) -> Iterator[Context]:
    """Yield a context and those around it, which only the token that resets each context knows."""
    while isinstance(context, (FlowRunContext, TaskRunContext)):
        yield context
        token = context._token  # pyright: ignore[reportPrivateUsage]
        context = token.old_value if token is not None else None
