"""What is done to a database depends on what is in it; every test of the platform loads the snapshot."""

import asyncio
import re
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from local.script import load_script

SCRIPT = Path(__file__).parents[1] / "migrate.py"


@pytest.fixture
def migrate() -> ModuleType:
    return load_script(SCRIPT)


class Database:
    """Answers as asyncpg does for a database with so many tables, and this mark."""

    def __init__(self, migrate: ModuleType, tables: int = 0, mark: str | None = None) -> None:
        self.answers = {migrate.COUNT_TABLES: tables, migrate.READ_MARK: mark}
        self.executed: list[str] = []

    async def fetchval(self, query: str) -> Any:
        return self.answers[query]

    async def execute(self, script: str) -> None:
        self.executed.append(script)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("most", "settings", "told"),
    [
        (16, {}, ""),
        (15, {}, "up to 16 connections to its database (1 x 15, and one each to listen), and this user may"),
        (15, {}, "set PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE=14 or a pooler before it"),
        (64, {"API_SERVERS": "3"}, ""),
        (22, {"API_SERVERS": "3"}, "have 22; allow more there, or set a smaller API_SERVERS or a pooler"),
        (15, {"DATABASE_DIRECT_HOST": "db.example.com"}, ""),
    ],
)
def test_a_database_with_too_few_connections_is_refused(
    migrate: ModuleType, monkeypatch: pytest.MonkeyPatch, most: int, settings: dict[str, str], told: str
) -> None:
    pool = {f"{migrate.POOL}POOL_SIZE": "15", f"{migrate.POOL}MAX_OVERFLOW": "0"}
    for name, value in {**pool, **settings}.items():
        monkeypatch.setenv(name, value)
    database = Database(migrate)
    database.answers[migrate.MAX_CONNECTIONS] = most
    if not told:
        asyncio.run(migrate.check_connections(database))
        return
    with pytest.raises(ValueError, match=re.escape(told)):
        asyncio.run(migrate.check_connections(database))


def test_migrations_go_past_a_pooler(migrate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(migrate.NO_STATEMENTS_KEPT, "0")
    with pytest.raises(ValueError, match="set DATABASE_DIRECT_HOST"):
        migrate.check_way()
    monkeypatch.setenv("DATABASE_DIRECT_HOST", "db.example.com")
    migrate.check_way()


def test_an_empty_database_gets_the_snapshot_in_one_transaction(migrate: ModuleType) -> None:
    database, snapshot = Database(migrate), f"CREATE TABLE public.run (); {migrate.MARK};"
    assert asyncio.run(migrate.is_prepared(database, snapshot))
    assert database.executed == [f"BEGIN;{snapshot}COMMIT;"]


def test_a_database_of_the_same_version_is_left_alone(migrate: ModuleType) -> None:
    database = Database(migrate, 40, f"Prefect {version('prefect')}")
    assert asyncio.run(migrate.is_prepared(database, migrate.MARK))
    assert database.executed == []


@pytest.mark.parametrize("mark", ["Prefect 3.8.7", "Prefect 3", None])
def test_any_other_database_is_left_to_prefects_migrations(migrate: ModuleType, mark: str | None) -> None:
    database = Database(migrate, 40, mark)
    assert not asyncio.run(migrate.is_prepared(database, migrate.MARK))
    assert database.executed == []


def test_the_snapshot_of_another_version_is_refused(migrate: ModuleType) -> None:
    with pytest.raises(ValueError, match="build the image again"):
        asyncio.run(migrate.is_prepared(Database(migrate), "CREATE TABLE public.run ();"))


def test_without_the_snapshot_an_empty_database_is_left_to_prefects_migrations(migrate: ModuleType) -> None:
    """As on a Postgres that is older than the one which the snapshot is from."""
    database = Database(migrate)
    assert not asyncio.run(migrate.is_prepared(database, ""))
    assert database.executed == []
    assert asyncio.run(migrate.is_prepared(Database(migrate, 40, migrate.PREPARED_BY), ""))


def test_a_server_waits_for_the_database_and_for_this_versions_migration(
    migrate: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a Docker Swarm, which starts all services at once."""
    others = [None, "Prefect 3.0.0", migrate.PREPARED_BY]

    async def connect() -> Database:
        if connect.tries < 2:  # type: ignore[attr-defined]
            connect.tries += 1  # type: ignore[attr-defined]
            raise ConnectionError("the database at postgres, port 5432: no answer in 10 s")
        return Database(migrate, mark=others.pop(0))

    connect.tries = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(migrate, "connect", connect)
    monkeypatch.setattr(migrate, "_PAUSE_SECONDS", 0)
    asyncio.run(migrate.wait_until_prepared())
    assert others == []
    assert capsys.readouterr().out.splitlines() == [
        "migrate: waiting for the database at postgres, port 5432: no answer in 10 s",
        f"migrate: waiting for a database that is that of {migrate.PREPARED_BY}",
    ]


def test_what_does_not_pass_by_itself_is_not_waited_for(
    migrate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect() -> Database:
        raise ValueError("the certificate of the database at db is not trusted")

    monkeypatch.setattr(migrate, "connect", connect)
    with pytest.raises(ValueError, match="is not trusted"):
        asyncio.run(migrate.wait_until_prepared())
