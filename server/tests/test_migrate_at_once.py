"""Several migrations at once, and one that is killed, on a real and empty Postgres."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import pytest

from local import warehouse
from tests.platforms import free_port, wait_for

SCRIPT = Path(__file__).parents[1] / "migrate.py"
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


class Postgres:
    """A Postgres of its own.

    Args:
        folder: For its data.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        password = folder / "password"
        password.write_text("of-the-test")
        warehouse.make_database(folder / "data", password, dict(os.environ))
        command = warehouse.command(folder / "data", self.port)
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        ready = warehouse.ready_command(self.port)
        wait_for(
            "Postgres", lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, 60
        )
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
            "PREFECT_SERVER_DATABASE_PORT": str(self.port),
            "PREFECT_SERVER_DATABASE_NAME": "warehouse",
            "PREFECT_SERVER_DATABASE_USER": "warehouse",
            "PREFECT_SERVER_DATABASE_PASSWORD": "of-the-test",
        }

    def migrate(self) -> subprocess.Popen[str]:
        """Start a migration, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), "--without-snapshot"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ask(self, statement: str) -> list[Any]:
        """Return the first value of each row that a statement yields."""

        async def fetch() -> list[Any]:
            login = {"user": "warehouse", "password": "of-the-test", "database": "warehouse"}
            driver: Any = asyncpg  # it has no types
            connection = await driver.connect(host="127.0.0.1", port=self.port, **login)
            try:
                return [row[0] for row in await connection.fetch(statement)]
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def revisions(self) -> list[str]:
        """Return how far the migrations are; nothing where none has been."""
        there = self.ask("SELECT to_regclass('alembic_version')::text")
        return self.ask("SELECT version_num FROM alembic_version") if there != [None] else []


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    if reason := warehouse.why_not():
        pytest.skip(reason)
    running = Postgres(tmp_path)
    yield running
    running.process.send_signal(signal.SIGINT)
    running.process.wait()


def test_a_killed_migration_and_then_three_at_once_end_in_one_whole_schema(postgres: Postgres) -> None:
    killed = postgres.migrate()
    half = wait_for("first migrations", postgres.revisions, 120, 0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    # An index that was being built when its builder was killed: a migration's own is as it is made here.
    postgres.ask("CREATE TABLE left_half AS SELECT 1 AS id UNION ALL SELECT 1")
    with pytest.raises(asyncpg.PostgresError):
        postgres.ask("CREATE UNIQUE INDEX CONCURRENTLY left_half_id ON left_half (id)")
    assert postgres.ask(INVALID) == ["left_half_id"]

    three = [postgres.migrate() for _ in range(3)]
    said = [process.communicate(timeout=240)[0] for process in three]
    assert [process.returncode for process in three] == [0, 0, 0], said
    # Exactly one has migrated; the others waited for it, and found its work done.
    assert sorted("migrating" in text for text in said) == [False, False, True], said
    assert sum("nothing to do" in text for text in said) == 2, said
    assert any("left_half_id was left half built" in text for text in said), said
    assert postgres.ask(INVALID) == []
    assert postgres.revisions() != half
    again = postgres.migrate()
    assert "nothing to do" in again.communicate(timeout=60)[0]
