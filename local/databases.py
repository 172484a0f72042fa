"""Prefect's database: dumped while in use, and replaced by a dump that was tried out beside it first."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from local.engine import Project
from local.errors import CommandError

# Ticks that were due between the backup and now may have run meanwhile: they are not run a second time.
_FORGET_OVERDUE = """
DELETE FROM flow_run
WHERE auto_scheduled AND state_type = 'SCHEDULED' AND expected_start_time < CURRENT_TIMESTAMP
"""
_IS_PREFECT = "SELECT (SELECT count(*) FROM alembic_version) + (SELECT count(*) FROM flow_run)"
_SCRATCH = "prefect_restored"


class PostgresDatabase:
    """The database of the containers; the service ``postgres`` has to run."""

    kind = "postgres"

    def __init__(self, project: Project) -> None:
        self._project = project

    def dump(self, target: Path) -> None:
        """Write a consistent dump of the database as it is now.

        Raises:
            CommandError: Postgres cannot be reached, or the dump failed.
        """
        with target.open("wb") as stream:
            self._project.stream(
                *("postgres", "pg_dump", "--username=prefect", "--dbname=prefect", "--format=custom"),
                output=stream,
            )

    def load(self, dump: Path) -> None:
        """Load a dump into a database beside the one in use, which stays as it is.

        Raises:
            CommandError: The dump is not one of Prefect's database.
        """
        self._sql(
            "postgres", f"DROP DATABASE IF EXISTS {_SCRATCH} WITH (FORCE)", f"CREATE DATABASE {_SCRATCH}"
        )
        try:
            with dump.open("rb") as stream:
                self._project.stream(
                    *("postgres", "pg_restore", "--username=prefect", f"--dbname={_SCRATCH}"),
                    *("--no-owner", "--exit-on-error", "--single-transaction"),
                    content=stream,
                )
            self._sql(_SCRATCH, _IS_PREFECT, _FORGET_OVERDUE)
        except CommandError as error:
            self._sql("postgres", f"DROP DATABASE {_SCRATCH} WITH (FORCE)")
            raise CommandError(f"the dump in it is not one of Prefect's database ({error})") from None

    def switch(self) -> None:
        """Put the loaded database in the place of the one in use, to which nobody is connected."""
        self._sql("postgres", "DROP DATABASE IF EXISTS prefect WITH (FORCE)")
        self._sql("postgres", f"ALTER DATABASE {_SCRATCH} RENAME TO prefect")

    def _sql(self, database: str, *statements: str) -> None:
        commands = [f"--command={statement}" for statement in statements]
        self._project.stream(
            *("postgres", "psql", "--username=prefect", f"--dbname={database}"),
            *("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null", *commands),
        )


class SqliteDatabase:
    """The database of the local processes: one file."""

    kind = "sqlite"

    def __init__(self, file: Path) -> None:
        self._file = file
        self._scratch = file.with_name(f"{_SCRATCH}.db")

    def dump(self, target: Path) -> None:
        """Write a consistent copy of the database as it is now.

        Raises:
            CommandError: There is no database, or it cannot be read.
        """
        try:
            with (
                closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=60)) as source,
                closing(sqlite3.connect(target)) as copy,
            ):
                source.backup(copy)
        except sqlite3.Error as error:
            raise CommandError(f"{self._file} cannot be copied: {error}") from None

    def load(self, dump: Path) -> None:
        """Copy a dump beside the database in use, which stays as it is.

        Raises:
            CommandError: The dump is not one of Prefect's database.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dump, self._scratch)
        try:
            with closing(sqlite3.connect(self._scratch)) as connection:
                connection.execute("PRAGMA foreign_keys = ON")
                if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("it is damaged")
                connection.execute(_IS_PREFECT).fetchone()
                connection.execute(_FORGET_OVERDUE)
                connection.commit()
        except sqlite3.Error as error:
            self._scratch.unlink()
            raise CommandError(f"the dump in it is not one of Prefect's database ({error})") from None

    def switch(self) -> None:
        """Put the loaded database in the place of the one in use, which no process may have open any more."""
        for suffix in ("-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
        self._scratch.replace(self._file)
