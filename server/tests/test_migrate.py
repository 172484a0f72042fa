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
    database.answers[migrate.MOST_CONNECTIONS] = most
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
