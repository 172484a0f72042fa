"""Asks Postgres in one round trip whether a connection still lives, where SQLAlchemy needs three.

The server asks each time that it takes a connection from its pool, which is for every call. SQLAlchemy begins
and ends a transaction around an empty statement, for proxies that give a connection out for one transaction.
Over the simple protocol a statement is a transaction of its own.
"""

from typing import Any

from outage import DatabaseAwayError
from sqlalchemy.dialects.postgresql import asyncpg


def ping_in_one_round_trip() -> None:
    """Change SQLAlchemy's way to ask, for this process."""
    connection: Any = asyncpg.AsyncAdapt_asyncpg_connection
    connection._async_ping = _ping


async def _ping(connection: Any) -> None:
    try:
        await connection._connection.execute("SELECT 1")
    except TimeoutError:  # of a statement that takes no time where there is a database
        raise DatabaseAwayError("no answer on a connection that was open") from None
