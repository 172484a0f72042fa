"""A connection is asked once whether it lives, and one that does not is noticed."""

import asyncio
from typing import Any

import asyncpg as driver  # pyright: ignore[reportMissingTypeStubs]
import database_ping
import pytest
from patches import ping_in_one_round_trip
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.util import greenlet_spawn

DRIVER: Any = asyncpg.dialect.import_dbapi()
DIALECT = asyncpg.dialect(dbapi=DRIVER)


class Database:
    """A connection of asyncpg's, which takes note of what goes over it; each is a round trip."""

    def __init__(self, *, is_closed: bool = False) -> None:
        self.asked: list[str] = []
        self._is_closed = is_closed

    def close(self) -> None:
        self._is_closed = True

    def is_closed(self) -> bool:
        return self._is_closed

    async def execute(self, statement: str) -> None:
        self.asked.append(statement)
        if self._is_closed:
            raise driver.InterfaceError("connection is closed")


def adapted(database: Database) -> Any:
    """Return what SQLAlchemy's pool has in place of the connection."""
    connection: Any = asyncpg.AsyncAdapt_asyncpg_connection.__new__(asyncpg.AsyncAdapt_asyncpg_connection)
    connection._connection, connection.dbapi = database, DRIVER
    return connection


@pytest.fixture(autouse=True)
def one_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncpg.PGDialect_asyncpg, "do_ping", asyncpg.PGDialect_asyncpg.do_ping)
    assert ping_in_one_round_trip()


def ping(connection: Any) -> None:
    asyncio.run(greenlet_spawn(DIALECT.do_ping, connection))


def test_connection_is_asked_once() -> None:
    database = Database()
    ping(adapted(database))
    assert database.asked == ["SELECT 1"]


def test_connection_is_asked_again_only_when_it_has_not_answered_for_some_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database, other = Database(), Database()
    connection = adapted(database)
    ping(connection)
    ping(connection)
    ping(adapted(other))
    assert (database.asked, other.asked) == (["SELECT 1"], ["SELECT 1"])
    monkeypatch.setattr(database_ping, "TRUSTED_SECONDS", 0.0)
    ping(connection)
    assert database.asked == ["SELECT 1"] * 2


def test_connection_that_was_closed_since_it_answered_is_noticed() -> None:
    database = Database()
    connection = adapted(database)
    ping(connection)
    database.close()
    with pytest.raises(DRIVER.Error, match="connection is closed"):
        ping(connection)


def test_closed_connection_is_noticed_as_such() -> None:
    connection = adapted(Database(is_closed=True))
    with pytest.raises(DRIVER.Error, match="connection is closed") as error:
        ping(connection)
    assert DIALECT.is_disconnect(error.value, connection, None)
