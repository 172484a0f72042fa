"""Prefect's database: dumped while in use, and replaced only by a dump that loads without errors."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from local.console import printable
from local.containers.engine import Project
from local.errors import CommandError


def _statements(name: str) -> tuple[str, ...]:
    """Return the statements of a file, which docs/ has readers run by hand too."""
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("--"))
    return tuple(filter(None, map(str.strip, text.split(";"))))


_FORGET_OVERDUE, FREE_SLOTS = map(_statements, ("forget-overdue.sql", "free-slots.sql"))
_IS_PREFECT = "SELECT (SELECT count(*) FROM alembic_version) + (SELECT count(*) FROM flow_run)"
# Prefect's database has none of these; any in a dump would run as Postgres' superuser once the server is up.
_OWN_CODE = """
WITH own AS (SELECT oid FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'information_schema'))
SELECT proname FROM pg_proc WHERE pronamespace IN (SELECT oid FROM own) AND NOT EXISTS
(SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')
UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT rulename FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
WHERE relnamespace IN (SELECT oid FROM own)
"""
_SCRATCH = "prefect_restored"
_REPLACED = "prefect_replaced"
_PARTS = ("", "-wal", "-shm", "-journal")  # of a SQLite database
_LOADER = "prefect_loader"  # not a superuser; exists only while a dump is loaded


class PostgresDatabase:
    """The database of the containers; the service ``postgres`` must be running."""

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
        """Load a dump into a database next to the one in use, which stays as it is.

        Nothing in the dump runs as Postgres' superuser, who may start programs and read files.

        Raises:
            CommandError: The dump is not one of Prefect's database.
        """
        self.discard()
        try:
            self._sql(f"CREATE ROLE {_LOADER} LOGIN", f"CREATE DATABASE {_SCRATCH} OWNER {_LOADER}")
            with dump.open("rb") as stream:
                self._project.stream(
                    *("postgres", "pg_restore", f"--username={_LOADER}", f"--dbname={_SCRATCH}"),
                    *("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"),
                    content=stream,
                )
            self._refuse_own_code()
            statements = (_IS_PREFECT, *_FORGET_OVERDUE, *FREE_SLOTS)
            self._psql(_SCRATCH, _LOADER, *(f"--command={statement}" for statement in statements))
            self._psql(_SCRATCH, "prefect", f"--command=REASSIGN OWNED BY {_LOADER} TO prefect")
            self._psql(_SCRATCH, "prefect", f"--command=DROP OWNED BY {_LOADER}")
            self._sql(f"DROP ROLE {_LOADER}")
        except CommandError as error:
            self.discard()
            raise CommandError(
                f"its dump is not a dump of Prefect's database ({printable(str(error))})"
            ) from None

    def _refuse_own_code(self) -> None:
        """Refuse a loaded dump that defines functions, triggers, rules or views.

        Raises:
            CommandError: It defines some.
        """
        if own := self._psql(_SCRATCH, _LOADER, f"--command={_OWN_CODE}").split():
            raise CommandError(f"it has functions, triggers or rules of its own: {' '.join(own[:3])}")

    def discard(self) -> None:
        """Delete what was loaded, if anything was."""
        self._sql(f"DROP DATABASE IF EXISTS {_SCRATCH} WITH (FORCE)", f"DROP ROLE IF EXISTS {_LOADER}")

    def switch(self) -> None:
        """Replace the database in use with the loaded one, and end the connections to it."""
        self._sql(f"DROP DATABASE IF EXISTS {_REPLACED} WITH (FORCE)")
        self._rename(("prefect", _REPLACED), (_SCRATCH, "prefect"))

    def switch_back(self) -> None:
        """Undo `switch`: put the loaded database next to the one in use again."""
        self._rename(("prefect", _SCRATCH), (_REPLACED, "prefect"))

    def finish(self) -> None:
        """Delete the replaced database."""
        self._sql(f"DROP DATABASE IF EXISTS {_REPLACED} WITH (FORCE)")

    def _rename(self, *names: tuple[str, str]) -> None:
        """Rename databases: all of them or none."""
        listed = ", ".join(f"'{name}'" for name, _ in names)
        statements = (f"ALTER DATABASE {name} RENAME TO {new}" for name, new in names)
        left = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({listed})"  # noqa: S608
        self._sql(left, "BEGIN", *statements, "COMMIT")

    def _sql(self, *statements: str) -> None:
        self._psql("postgres", "prefect", *(f"--command={statement}" for statement in statements))

    def _psql(self, database: str, role: str, *commands: str) -> str:
        how = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--no-align", "--tuples-only")
        printed = self._project.stream(
            "postgres", "psql", f"--username={role}", f"--dbname={database}", *how, *commands
        )
        return printed.decode(errors="replace")


def read_only(file: Path, seconds: float, how: str = "mode=ro") -> sqlite3.Connection:
    """Open a SQLite database for reading.

    Args:
        file: The database; it must exist.
        seconds: How long to wait for a lock to be released.
        how: The query of the URI that SQLite opens.
    """
    return sqlite3.connect(f"{file.absolute().as_uri()}?{how}", uri=True, timeout=seconds)


def parts_of(file: Path) -> list[Path]:
    """Return the files that a SQLite database may consist of, the database itself first."""
    return [file.with_name(file.name + suffix) for suffix in _PARTS]


def delete_parts(file: Path) -> None:
    """Delete the files of a SQLite database, if there are any."""
    for part in parts_of(file):
        part.unlink(missing_ok=True)


class SqliteDatabase:
    """The database of the local processes: one file."""

    kind = "sqlite"

    def __init__(self, file: Path) -> None:
        self._file = file
        self._scratch = file.with_name(f"{_SCRATCH}.db")
        self._replaced = file.with_name(f"{_REPLACED}.db")

    def dump(self, target: Path) -> None:
        """Write a consistent copy of the database as it is now.

        Raises:
            CommandError: There is no database, or it cannot be read.
        """
        try:
            with (
                closing(read_only(self._file, 60)) as source,
                closing(sqlite3.connect(target)) as copy,
            ):
                source.backup(copy)
        except sqlite3.Error as error:
            raise CommandError(f"{self._file} cannot be copied: {error}") from None

    def load(self, dump: Path) -> None:
        """Copy a dump next to the database in use, which stays as it is.

        Raises:
            CommandError: The dump is not one of Prefect's database, or it cannot be copied.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self.discard()
            shutil.copyfile(dump, self._scratch)
            with closing(sqlite3.connect(self._scratch)) as connection:
                connection.execute("PRAGMA foreign_keys = ON")
                if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("it is damaged")
                connection.execute(_IS_PREFECT).fetchone()
                for statement in (*_FORGET_OVERDUE, *FREE_SLOTS):
                    connection.execute(statement)
                connection.commit()
        except sqlite3.Error as error:
            self.discard()
            raise CommandError(
                f"its dump is not a dump of Prefect's database ({printable(str(error))})"
            ) from None
        except OSError as error:
            self.discard()
            raise CommandError(f"it cannot be copied to {self._file.parent}: {error.strerror}") from None

    def discard(self) -> None:
        """Delete what was loaded, if anything was."""
        delete_parts(self._scratch)

    def switch(self) -> None:
        """Replace the database in use with the loaded one; no process may have it open."""
        self.finish()
        _move(self._file, self._replaced)
        self._scratch.replace(self._file)

    def switch_back(self) -> None:
        """Undo `switch`: put the loaded database next to the one in use again."""
        self._file.replace(self._scratch)
        _move(self._replaced, self._file)

    def finish(self) -> None:
        """Delete the replaced database."""
        delete_parts(self._replaced)


def _move(file: Path, target: Path) -> None:
    """Rename a SQLite database, with all its files."""
    for part, moved in zip(parts_of(file), parts_of(target), strict=True):
        if part.exists():
            part.replace(moved)
