"""What is done to a database depends on what is in it; every test of the platform loads the snapshot."""

import asyncio
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
