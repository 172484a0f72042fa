"""What is done to a database depends on what is in it; the snapshot itself is loaded by every test of the platform."""

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "migrate.py"
SNAPSHOT = "CREATE TABLE public.run ();\nINSERT INTO public.alembic_version VALUES ('abc123');\n"


@pytest.fixture
def migrate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("server_migrate", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Database:
    """Answers as asyncpg does for a database with these tables and this revision."""

    def __init__(self, tables: tuple[str, ...] = (), revision: str | None = None) -> None:
        self.tables = tables
        self.revision = revision
        self.executed: list[str] = []

    async def fetch(self, _query: str) -> list[dict[str, Any]]:
        return [{"tablename": name} for name in self.tables]

    async def fetchval(self, _query: str) -> str | None:
        return self.revision

    async def execute(self, script: str) -> None:
        self.executed.append(script)


def done(migrate: ModuleType, database: Database, snapshot: str = SNAPSHOT) -> bool:
    return asyncio.run(migrate.has_schema_of(snapshot, database))


def test_an_empty_database_gets_the_snapshot_in_one_transaction(migrate: ModuleType) -> None:
    database = Database()
    assert done(migrate, database)
    assert database.executed == [f"BEGIN;{SNAPSHOT}COMMIT;"]


def test_a_database_of_the_same_revision_is_left_alone(migrate: ModuleType) -> None:
    database = Database(("alembic_version", "run"), "abc123")
    assert done(migrate, database)
    assert database.executed == []


@pytest.mark.parametrize(
    ("tables", "revision"),
    [(("alembic_version", "run"), "older1"), (("alembic_version",), None), (("somebody_elses",), None)],
)
def test_any_other_database_is_left_to_prefects_migrations(
    migrate: ModuleType, tables: tuple[str, ...], revision: str | None
) -> None:
    database = Database(tables, revision)
    assert not done(migrate, database)
    assert database.executed == []


def test_a_snapshot_without_a_revision_is_refused(migrate: ModuleType) -> None:
    with pytest.raises(ValueError, match="holds no revision"):
        done(migrate, Database(), "CREATE TABLE public.run ();")
