"""Checks in one round trip, and seldom, whether a connection to Postgres is alive; SQLAlchemy needs three.

The server asks when it takes a connection from its pool, some forty times for each flow run. SQLAlchemy
begins and ends a transaction around an empty statement, for proxies that give a connection out for one
transaction. Over the simple protocol a statement is a transaction of its own. A connection that has just
answered is not asked again: what a database closes when it ends, asyncpg knows without asking.
"""

import time
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from outage import DatabaseAwayError

TRUSTED_SECONDS = 2.0
_answered_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


def ping(dialect: Any, connection: Any) -> bool:
    """Ask, in the place of `do_ping` of SQLAlchemy's dialect.

    Args:
        dialect: SQLAlchemy's, of asyncpg.
        connection: What its pool has in place of asyncpg's connection.

    Raises:
        DatabaseAwayError: There is no answer.
        dialect.dbapi.Error: The connection is closed.
    """
    own = connection.driver_connection
    if not own.is_closed() and time.monotonic() - _answered_at.get(own, -TRUSTED_SECONDS) < TRUSTED_SECONDS:
        return True
    try:
        connection.run_async(_ask)
    except TimeoutError:  # of a statement that takes no time where there is a database
        raise DatabaseAwayError("no answer on a connection that was open") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise dialect.dbapi.Error(f"{type(error)}: {error}") from error
    _answered_at[own] = time.monotonic()
    return True


async def _ask(connection: Any) -> None:
    await connection.execute("SELECT 1")
