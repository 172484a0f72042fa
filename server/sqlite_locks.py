"""Keeps concurrent flow runs from locking each other, and the server, out of SQLite.

Two flaws of Prefect 3.9.1 cause that. First, a transaction that reads before it writes fails at once if
another has written meanwhile ("database is locked"), and its client has to retry. Here, each takes the lock
when it begins, and waits for it there. Second, a cursor that nobody closed, such as that of the failure, is
closed by the garbage collector in the event loop's thread, which then waits for its connection's current
statement. That waits for the lock, up to a minute, while the lock's holder waits for the event loop. Here, it
is closed in the connection's own thread, for which nobody waits.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any


def locking(
    begin: Callable[..., Any], mode: ContextVar[str | None]
) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Return a version of `begin` that takes the lock at once.

    Args:
        begin: Prefect's own ``begin_transaction``.
        mode: How SQLite begins the next transaction.
    """

    @asynccontextmanager
    async def begin_transaction(self: Any, session: Any, **_: bool) -> AsyncGenerator[Any]:
        async with begin(self, session, with_for_update=True) as transaction:
            await session.connection()  # takes the lock
            # A nested session, which reads a paused queue for an event, would wait for this one's lock.
            token = mode.set("DEFERRED")
            try:
                yield transaction
            finally:
                mode.reset(token)

    return begin_transaction


def noting(close: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return a version of `close` that marks the cursor as closed.

    Args:
        close: The cursor's own method.
    """

    async def close_noted(cursor: Any) -> None:
        await close(cursor)
        cursor.is_closed = True

    return close_noted


def abandon(cursor: Any) -> None:
    """Close a cursor that nobody closed, in its connection's own thread."""
    if not getattr(cursor, "is_closed", False):
        cursor._conn._tx.put_nowait((None, cursor._cursor.close))
