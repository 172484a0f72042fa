"""Checks in one round trip, and rarely, whether a connection to Postgres is alive; SQLAlchemy needs three.

The server checks a connection whenever it takes one from its pool, some forty times for each flow run.
SQLAlchemy wraps an empty statement in a transaction, for proxies that assign a connection per transaction. In
the simple protocol, a statement is its own transaction. A connection that has just answered is not checked
again: asyncpg notices by itself when a database closes it.
"""

import time
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from outage import DatabaseAwayError

TRUSTED_SECONDS = 2.0
_answered_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


def ping(dialect: Any, connection: Any) -> bool:
    """Check a connection, in place of `do_ping` of SQLAlchemy's dialect.

    Args:
        dialect: SQLAlchemy's dialect for asyncpg.
        connection: The pool's wrapper of asyncpg's connection.

    Raises:
        DatabaseAwayError: There is no answer.
        dialect.dbapi.Error: The connection is closed.
    """
    own = connection.driver_connection
    if not own.is_closed() and time.monotonic() - _answered_at.get(own, -TRUSTED_SECONDS) < TRUSTED_SECONDS:
        return True
    try:
        connection.run_async(_ask)
    except TimeoutError:  # for a statement that takes no time if the database is there
        raise DatabaseAwayError("no answer on a connection that was open") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise dialect.dbapi.Error(f"{type(error)}: {error}") from error
    _answered_at[own] = time.monotonic()
    return True


async def _ask(connection: Any) -> None:
    await connection.execute("SELECT 1")
