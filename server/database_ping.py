"""Checks in one round trip whether a connection to Postgres is alive, where SQLAlchemy needs three.

The server asks each time that it takes a connection from its pool, which is for every call. SQLAlchemy begins
and ends a transaction around an empty statement, for proxies that give a connection out for one transaction.
Over the simple protocol a statement is a transaction of its own.
"""

from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from outage import DatabaseAwayError


def ping(dialect: Any, connection: Any) -> bool:
    """Ask, in the place of `do_ping` of SQLAlchemy's dialect.

    Args:
        dialect: SQLAlchemy's, of asyncpg.
        connection: What its pool has in place of asyncpg's connection.

    Raises:
        DatabaseAwayError: There is no answer.
        dialect.dbapi.Error: The connection is closed.
    """
    try:
        connection.run_async(_ask)
    except TimeoutError:  # of a statement that takes no time where there is a database
        raise DatabaseAwayError("no answer on a connection that was open") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise dialect.dbapi.Error(f"{type(error)}: {error}") from error
    return True


async def _ask(connection: Any) -> None:
    await connection.execute("SELECT 1")
