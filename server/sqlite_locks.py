"""Keeps concurrent flow runs from locking each other, and the server, out of SQLite.

Two things of Prefect 3.9.1 do so. A transaction that reads before it writes fails at once if another has
written meanwhile ("database is locked"), so that its client has to ask again: each takes the lock when it
begins instead, where it waits for it. And a cursor that nobody closed, such as that of the failure, is
closed by the garbage collector in the event loop's thread, which then waits for the statement that its
connection is at; that waits for the lock, up to a minute, and who has the lock waits for the event loop. It
is closed in the connection's own thread instead, which nobody waits for.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any


def locking(
    begin: Callable[..., Any], mode: ContextVar[str | None]
) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """Return a way to begin a transaction that takes the lock at once.

    Args:
        begin: Prefect's own ``begin_transaction``.
        mode: How SQLite begins the next transaction.
    """

    @asynccontextmanager
    async def begin_transaction(self: Any, session: Any, **_: bool) -> AsyncGenerator[Any]:
        async with begin(self, session, with_for_update=True) as transaction:
            await session.connection()  # takes the lock
            # A session within, which reads what an event tells of a paused queue, would wait for this one's.
            token = mode.set("DEFERRED")
            try:
                yield transaction
            finally:
                mode.reset(token)

    return begin_transaction


def noting(close: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return a way to close a cursor that notes in it that somebody has.

    Args:
        close: The cursor's own.
    """

    async def close_noted(cursor: Any) -> None:
        await close(cursor)
        cursor.is_closed = True

    return close_noted


def abandon(cursor: Any) -> None:
    """Have a cursor that nobody has closed closed in its connection's own thread."""
    if not getattr(cursor, "is_closed", False):
        cursor._conn._tx.put_nowait((None, cursor._cursor.close))
