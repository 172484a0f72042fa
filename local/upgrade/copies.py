"""A copy of Prefect's database, made while nothing uses it, to which an upgrade can roll back.

It is next to the database: in the same Postgres, where a rename makes it the database again, or in the same
folder. Unlike a backup's dump, it is put back at once, and holds every flow run up to the switch.
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
# Postgres goes on with the statement of a psql that was killed, and the copy appears when that is done.
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
    """What an upgrade needs from either form's database."""

    def size_bytes(self) -> int:
        """Return how many bytes the database takes."""
        ...

    def make(self) -> None:
        """Copy the database, which nothing else uses, and delete an older copy."""
        ...

    def exists(self) -> bool:
        """Tell whether there is a complete copy."""
        ...

    def differs(self) -> bool:
        """Tell whether tables have changed since the copy, by a whole migration or half of one."""
        ...

    def ended_since(self, queue: str) -> int:
        """Return how many flow runs have completed or failed since the copy, except those of a queue."""
        ...

    def put_back(self) -> None:
        """Make the copy the database again."""
        ...

    def discard(self) -> None:
        """Delete the copy, if there is one."""
        ...


class PostgresCopy(PostgresDatabase):
    """A second database in the service ``postgres``, which must be running."""

    def size_bytes(self) -> int:
        """Return how many bytes the database takes."""
        return int(self._query("postgres", "SELECT pg_database_size('prefect')"))

    def make(self) -> None:
        """Copy the database, after ending the connections to it."""
        self.discard()
        self._sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'prefect'",
            f"CREATE DATABASE {_KEPT} TEMPLATE prefect STRATEGY FILE_COPY",
        )

    def exists(self) -> bool:
        """Tell whether there is a complete copy; Postgres does not show an incomplete one."""
        return bool(self._query("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{_KEPT}'"))  # noqa: S608

    def differs(self) -> bool:
        """Tell whether tables have changed since the copy."""
        return self._shape("prefect") != self._shape(_KEPT)

    def ended_since(self, queue: str) -> int:
        """Return how many flow runs have completed or failed since the copy, except those of a queue."""
        asked = _ENDED.format(queue=queue)
        try:
            now, then = (set(self._query(name, asked).split()) for name in ("prefect", _KEPT))
        except CommandError:  # half a migration may leave anything
            return 0
        return len(now - then)

    def put_back(self) -> None:
        """Make the copy the database again by renaming it, and delete the other one."""
        self._psql(_KEPT, "prefect", *(f"--command={statement}" for statement in FREE_SLOTS))
        self._rename(("prefect", _FAILED), (_KEPT, "prefect"))
        self._sql(f"DROP DATABASE IF EXISTS {_FAILED} WITH (FORCE)")

    def discard(self) -> None:
        """Delete the copy and what `put_back` may have left; end statements that are still making one."""
        self.end_makers()
        self._sql(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (_KEPT, _FAILED)))

    def end_makers(self) -> None:
        """End statements that are still making a copy."""
        self._sql(_END_MAKERS)

    def _shape(self, database: str) -> str:
        dumped = self._project.stream(
            *("postgres", "pg_dump", "--username=prefect", f"--dbname={database}", "--schema-only")
        )
        # Newer versions of pg_dump guard each dump with a random word.
        lines = [
            line for line in dumped.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))
        ]
        digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
        return f"{digest} {self._query(database, _VERSIONS)}"

    def _query(self, database: str, statement: str) -> str:
        return self._psql(database, "prefect", f"--command={statement}").strip()


class SqliteCopy(SqliteDatabase):
    """A second file next to the database's.

    Args:
        file: The database.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._kept, self._failed = (file.with_name(f"{name}.db") for name in (_KEPT, _FAILED))

    def size_bytes(self) -> int:
        """Return how many bytes the database takes."""
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
        """Tell whether there is a complete copy."""
        return self._kept.exists()

    def differs(self) -> bool:
        """Tell whether tables have changed since the copy."""
        return _shape(self._file, "mode=ro") != _shape(self._kept, "mode=ro&immutable=1")

    def ended_since(self, queue: str) -> int:
        """Return how many flow runs have completed or failed since the copy, except those of a queue."""
        asked = _ENDED.format(queue=queue)
        try:
            now = set(_rows(self._file, "mode=ro", asked))
            return len(now - set(_rows(self._kept, "mode=ro&immutable=1", asked)))
        except sqlite3.Error:  # half a migration may leave anything
            return 0

    def put_back(self) -> None:
        """Make the copy the database again."""
        with closing(sqlite3.connect(self._kept)) as connection, connection:
            for statement in FREE_SLOTS:
                connection.execute(statement)
        if self._file.exists():  # from here on there is no database, so an interrupted call can be repeated
            self._file.replace(self._failed)
        delete_parts(self._file)  # its remaining files would be taken for the copy's
        self._kept.replace(self._file)
        self._failed.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the copy, if there is one."""
        for file in (self._kept, self._kept.with_suffix(".new"), self._failed):
            delete_parts(file)


def _shape(file: Path, how: str) -> str:
    """Return a digest of a database's tables and of Prefect's own version of them."""
    try:
        tables = _rows(file, how, "SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")
        versions = _rows(file, how, _VERSIONS)
    except sqlite3.Error as error:  # half a migration may leave anything
        return f"{file}: {error}"
    return hashlib.sha256(repr((tables, versions)).encode()).hexdigest()


def _rows(file: Path, how: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(read_only(file, 30, how)) as connection:
        return connection.execute(statement).fetchall()
