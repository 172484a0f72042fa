"""A copy of Prefect's database, made while nothing uses it, to which an upgrade can roll back.

It is beside the database: in the same Postgres, where it becomes the database again by its name, or in the
same folder. Unlike a backup's dump it is put back at once, and holds every flow run up to the switch.
"""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from local.backup.databases import (
    FREE_SLOTS,
    PostgresDatabase,
    SqliteDatabase,
    delete_parts,
    parts_of,
    read_only,
)
from local.errors import CommandError

_KEPT, _FAILED = "prefect_before_upgrade", "prefect_after_upgrade"
# A psql that was killed leaves its statement to Postgres, where the copy appears once that is done.
_END_MAKERS = f"""
SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND query LIKE 'CREATE DATABASE {_KEPT} %' AND state = 'active'
"""  # noqa: S608
_ENDED = """
SELECT id FROM flow_run
WHERE state_type IN ('COMPLETED', 'FAILED') AND coalesce(work_queue_name, '') <> '{queue}'
"""
_VERSIONS = "SELECT version_num FROM alembic_version ORDER BY 1"


class Copy(Protocol):
    """What an upgrade asks of either form's database."""

    def size_bytes(self) -> int:
        """Return how much room the database takes."""
        ...

    def make(self) -> None:
        """Copy the database, which nothing else uses; an older copy goes."""
        ...

    def exists(self) -> bool:
        """Whether there is a whole copy."""
        ...

    def differs(self) -> bool:
        """Whether tables were changed since, be it by a whole migration or by half of one."""
        ...

    def ended_since(self, queue: str) -> int:
        """Return how many flow runs have ended by themselves since, but for those of a queue."""
        ...

    def put_back(self) -> None:
        """Let the copy be the database again."""
        ...

    def discard(self) -> None:
        """Delete the copy, if there is one."""
        ...


class PostgresCopy(PostgresDatabase):
    """A second database in the service ``postgres``, which has to run."""

    def size_bytes(self) -> int:
        """Return how much room the database takes."""
        return int(self._query("postgres", "SELECT pg_database_size('prefect')"))

    def make(self) -> None:
        """Copy the database; whoever is still connected to it is sent away."""
        self.discard()
        self._sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'prefect'",
            f"CREATE DATABASE {_KEPT} TEMPLATE prefect STRATEGY FILE_COPY",
        )

    def exists(self) -> bool:
        """Whether there is a whole copy: Postgres shows no half of one."""
        return bool(self._query("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{_KEPT}'"))  # noqa: S608

    def differs(self) -> bool:
        """Whether tables were changed since."""
        return self._shape("prefect") != self._shape(_KEPT)

    def ended_since(self, queue: str) -> int:
        """Return how many flow runs have ended by themselves since, but for those of a queue."""
        asked = _ENDED.format(queue=queue)
        try:
            now, then = (set(self._query(name, asked).split()) for name in ("prefect", _KEPT))
        except CommandError:  # half of a migration may leave anything
            return 0
        return len(now - then)

    def put_back(self) -> None:
        """Let the copy be the database again, by its name, and delete the other one."""
        self._psql(_KEPT, "prefect", *(f"--command={statement}" for statement in FREE_SLOTS))
        self._rename(("prefect", _FAILED), (_KEPT, "prefect"))
        self._sql(f"DROP DATABASE IF EXISTS {_FAILED} WITH (FORCE)")

    def discard(self) -> None:
        """Delete the copy, and what is left of another one's place; whoever still makes one is sent away."""
        self.end_makers()
        self._sql(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (_KEPT, _FAILED)))

    def end_makers(self) -> None:
        """Send away whoever still makes a copy."""
        self._sql(_END_MAKERS)

    def _shape(self, database: str) -> str:
        dumped = self._project.stream(
            *("postgres", "pg_dump", "--username=prefect", f"--dbname={database}", "--schema-only")
        )
        # Newer programs guard each dump by a word of its own.
        lines = [
            line for line in dumped.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))
        ]
        digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
        return f"{digest} {self._query(database, _VERSIONS)}"

    def _query(self, database: str, statement: str) -> str:
        return self._psql(database, "prefect", f"--command={statement}").strip()


class SqliteCopy(SqliteDatabase):
    """A second file beside the database's.

    Args:
        file: The database.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._kept, self._failed = (file.with_name(f"{name}.db") for name in (_KEPT, _FAILED))

    def size_bytes(self) -> int:
        """Return how much room the database takes."""
        return sum(part.stat().st_size for part in parts_of(self._file) if part.exists())

    def make(self) -> None:
        """Copy the database."""
        scratch = self._kept.with_suffix(".new")
        scratch.unlink(missing_ok=True)
        try:
            self.dump(scratch)
            scratch.replace(self._kept)
        except (OSError, CommandError):
            scratch.unlink(missing_ok=True)
            raise

    def exists(self) -> bool:
        """Whether there is a whole copy."""
        return self._kept.exists()

    def differs(self) -> bool:
        """Whether tables were changed since."""
        return _shape(self._file, "mode=ro") != _shape(self._kept, "mode=ro&immutable=1")

    def ended_since(self, queue: str) -> int:
        """Return how many flow runs have ended by themselves since, but for those of a queue."""
        asked = _ENDED.format(queue=queue)
        try:
            now = set(_rows(self._file, "mode=ro", asked))
            return len(now - set(_rows(self._kept, "mode=ro&immutable=1", asked)))
        except sqlite3.Error:  # half of a migration may leave anything
            return 0

    def put_back(self) -> None:
        """Let the copy be the database again."""
        with closing(sqlite3.connect(self._kept)) as connection, connection:
            for statement in FREE_SLOTS:
                connection.execute(statement)
        if self._file.exists():  # from here on there is no database, so that whoever is cut off begins again
            self._file.replace(self._failed)
        delete_parts(self._file)  # what is left is of the other one, and would be taken for the copy's
        self._kept.replace(self._file)
        self._failed.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the copy, if there is one."""
        for file in (self._kept, self._kept.with_suffix(".new"), self._failed):
            delete_parts(file)


def _shape(file: Path, how: str) -> str:
    """Return a digest of a database's tables, and Prefect's own version of them."""
    try:
        tables = _rows(file, how, "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")
        versions = _rows(file, how, _VERSIONS)
    except sqlite3.Error as error:  # half of a migration may leave anything
        return f"{file}: {error}"
    return hashlib.sha256(repr((tables, versions)).encode()).hexdigest()


def _rows(file: Path, how: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(read_only(file, 30, how)) as connection:
        return connection.execute(statement).fetchall()
