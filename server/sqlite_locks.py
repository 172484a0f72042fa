"""Keeps many flow runs at once from locking each other, and the server itself, out of SQLite.

Two things of Prefect 3.8.8 do so. A transaction that reads before it writes fails at once if another has
written meanwhile ("database is locked"), so that its client has to ask again: each takes the lock when it
begins instead, where it waits for it. And a cursor that nobody closed, such as that of the failure, is
closed by the garbage collector in the event loop's thread, which then waits for the statement that its
connection is at; that waits for the lock, up to a minute, and who has the lock waits for the event loop. It
is closed in the connection's own thread instead, which nobody waits for.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aiosqlite.cursor import Cursor
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration


def take_locks_in_order() -> None:
    """Change how transactions on SQLite begin, and what becomes of cursors that nobody closed."""
    _lock_at_the_beginning()
    _close_abandoned_cursors()


def _lock_at_the_beginning() -> None:
    configuration: Any = AioSqliteConfiguration
    stock = configuration.begin_transaction

    @asynccontextmanager
    async def begin(self: Any, session: Any, **_: bool) -> AsyncGenerator[Any]:
        async with stock(self, session, with_for_update=True) as transaction:
            await session.connection()  # takes the lock
            # A session within, which reads what an event tells of a paused queue, would wait for this one's.
            token = SQLITE_BEGIN_MODE.set("DEFERRED")
            try:
                yield transaction
            finally:
                SQLITE_BEGIN_MODE.reset(token)

    configuration.begin_transaction = begin


def _close_abandoned_cursors() -> None:
    cursor_class: Any = Cursor
    stock = cursor_class.close

    async def close(cursor: Any) -> None:
        await stock(cursor)
        cursor.is_closed = True

    def abandon(cursor: Any) -> None:
        if not getattr(cursor, "is_closed", False):
            cursor._conn._tx.put_nowait((None, cursor._cursor.close))

    cursor_class.close = close
    cursor_class.__del__ = abandon
