"""Writers of SQLite wait for each other, and the event loop for none of them."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from patches import close_abandoned_cursors, take_locks_in_order
from prefect.server.database.configurations import AioSqliteConfiguration

# Some seconds of work.
LONG_STATEMENT = """
WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 50000000)
SELECT count(*) FROM numbers
"""


@pytest.fixture(autouse=True)
def locks_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a started server has done, undone after each test."""
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", AioSqliteConfiguration.begin_transaction)
    monkeypatch.setattr(aiosqlite.Cursor, "close", aiosqlite.Cursor.close)
    monkeypatch.setattr(aiosqlite.Cursor, "__del__", None, raising=False)
    assert take_locks_in_order()
    assert close_abandoned_cursors()


def test_transactions_that_read_before_they_write_wait_for_each_other(tmp_path: Path) -> None:
    async def add_one(configuration: Any, has_read: asyncio.Event, may_write: asyncio.Event) -> None:
        session = await configuration.session(await configuration.engine())
        async with session, configuration.begin_transaction(session):
            [number] = (await session.execute(sa.text("SELECT number FROM counter"))).one()
            has_read.set()
            await may_write.wait()
            await session.execute(sa.text(f"UPDATE counter SET number = {number + 1}"))

    async def count() -> int:
        configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}")
        engine = await configuration.engine()
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE counter (number INTEGER)"))
            await connection.execute(sa.text("INSERT INTO counter VALUES (0)"))
        has_read, may_write = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(add_one(configuration, has_read, may_write))
        await has_read.wait()
        second = asyncio.create_task(add_one(configuration, has_read, has_read))
        _, unfinished = await asyncio.wait([second], timeout=0.3)
        assert unfinished, "the second did not wait for the first"
        may_write.set()
        await asyncio.gather(first, second)
        async with engine.connect() as connection:
            return (await connection.execute(sa.text("SELECT number FROM counter"))).scalar_one()

    assert asyncio.run(count()) == 2


def test_a_session_within_a_transaction_reads_without_waiting_for_it(tmp_path: Path) -> None:
    """As for the event of a queue that is paused: it waited for a minute, and the pause failed."""

    async def read_within() -> int:
        configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}")
        engine = await configuration.engine()
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE counter (number INTEGER)"))
            await connection.execute(sa.text("INSERT INTO counter VALUES (7)"))
        session, within = await configuration.session(engine), await configuration.session(engine)
        async with session, configuration.begin_transaction(session):
            await session.execute(sa.text("UPDATE counter SET number = 8"))
            async with within:
                return (await within.execute(sa.text("SELECT number FROM counter"))).scalar_one()

    assert asyncio.run(asyncio.wait_for(read_within(), 100)) == 7


def test_event_loop_does_not_wait_for_the_connection_of_an_abandoned_cursor(tmp_path: Path) -> None:
    async def collect_during_a_statement() -> None:
        async with aiosqlite.connect(tmp_path / "some.db") as connection:
            abandoned: Any = await connection.execute("SELECT 1 UNION SELECT 2")
            await abandoned.fetchone()
            abandoned.itself = abandoned  # as in the traceback of a failure
            statement = asyncio.ensure_future(connection.execute(LONG_STATEMENT))
            _, unfinished = await asyncio.wait([statement], timeout=0.3)
            assert unfinished, "the statement is too short for this test"
            del abandoned
            gc.collect()
            while not statement.done():  # it may not have begun yet, where the machine is busy
                await connection.interrupt()
                await asyncio.wait([statement], timeout=0.1)
            with pytest.raises(aiosqlite.OperationalError, match="interrupted"):
                await statement

    asyncio.run(collect_during_a_statement())
