"""Writes and restores backups: the database, the key that decrypts its blocks, and the settings."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Protocol

from local.backup.archive import DATABASE, KEY, SETTINGS, write_archive
from local.backup.databases import PostgresDatabase, SqliteDatabase
from local.console import Console
from local.containers.engine import Project
from local.errors import CommandError
from local.processes.services import SECRETS, STATE
from local.settings.platform import ROOT


class Database(Protocol):
    """What both forms of the platform can do with Prefect's database; see `local.backup.databases`."""

    kind: str

    def dump(self, target: Path) -> None:
        """Write a consistent dump of the database as it is now."""
        ...

    def load(self, dump: Path) -> None:
        """Load a dump next to the database in use, which stays as it is."""
        ...

    def discard(self) -> None:
        """Delete what was loaded."""
        ...

    def switch(self) -> None:
        """Replace the database in use with the loaded one."""
        ...

    def switch_back(self) -> None:
        """Undo `switch`."""
        ...

    def finish(self) -> None:
        """Delete the replaced database."""
        ...


@dataclass(frozen=True)
class Backups:
    """Makes backups of one form of the platform, and restores them.

    Attributes:
        database: Prefect's database.
        read_key: Returns the key that encrypts the blocks.
        write_key: Replaces that key.
        console: Where progress is shown.
        root: The checkout, with the settings in its ``.env``.
    """

    database: Database
    read_key: Callable[[], str]
    write_key: Callable[[str], None]
    console: Console
    root: Path = ROOT

    def backup(self, target: Path | None) -> None:
        """Write a backup of the running platform.

        Args:
            target: The file to write; by default one in ``backups/``, named after the time.

        Raises:
            CommandError: Something could not be read, or the file could not be written.
        """
        now = datetime.now(UTC)
        target = target or self.root / "backups" / f"yeedu-prefect-{now:%Y%m%dT%H%M%SZ}.tar"
        try:
            with TemporaryDirectory() as folder:
                parts = Path(folder)
                self.console.step("database     copying a consistent snapshot")
                self.database.dump(parts / DATABASE)
                (parts / KEY).write_text(self.read_key(), encoding="ascii")
                settings = self.root / ".env"
                if settings.is_file():
                    shutil.copyfile(settings, parts / SETTINGS)
                write_archive(target, parts, self.database.kind, prefect_version(self.root), now.isoformat())
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise CommandError(f"no backup was made: {where}{error.strerror}") from None
        self.console.step(f"backup       {target} ({target.stat().st_size / 1e6:.1f} MB)")
        self.console.say("It contains passwords and their key: keep it where only you can read it.")

    def restore(self, dump: Path, key: str, stop: Callable[[], None]) -> None:
        """Replace the database and its key, but only after the dump has loaded next to the one in use.

        Args:
            dump: A dump of a database of this kind.
            key: The key that its blocks are encrypted with.
            stop: Stops every process that uses the database.

        Raises:
            CommandError: The dump cannot be loaded, or cannot replace the database; no data was changed.
        """
        self.database.load(dump)
        self.console.step("database     loaded next to the one in use")
        try:
            stop()
            self._take_over(key)
        except CommandError as error:
            self.database.discard()
            raise CommandError(f"{error}; no data was changed, `make up` starts the platform") from None
        except BaseException:
            self.database.discard()
            raise
        self.console.step("database     in place, with its key")
        self.database.finish()

    def _take_over(self, key: str) -> None:
        """Put the loaded database and its key in place: both or neither."""
        self.database.switch()
        try:
            self.write_key(key)
        except BaseException:
            self.database.switch_back()
            raise


def of_containers(project: Project, console: Console) -> Backups:
    """Return the backups of the platform in containers; making one takes a running ``server``."""

    def read_key() -> str:
        return project.stream("server", "cat", "/run/platform/server/encryption-key").decode("ascii")

    def write_key(key: str) -> None:
        script = ("python", "/opt/server/generate_secrets.py", "--restore", "PREFECT_SERVER_ENCRYPTION_KEY")
        with TemporaryFile() as content:
            content.write(key.encode("ascii"))
            content.seek(0)
            project.stream("secrets", *script, content=content, is_new=True)

    return Backups(PostgresDatabase(project), read_key, write_key, console)


def of_processes(console: Console) -> Backups:
    """Return the backups of the platform as local processes."""
    key_file = SECRETS / "server" / "encryption-key"

    def read_key() -> str:
        try:
            return key_file.read_text(encoding="ascii")
        except OSError as error:
            raise CommandError(f"{key_file} cannot be read: {error.strerror}; `make up` creates it") from None

    def write_key(key: str) -> None:
        scratch = key_file.with_suffix(".new")
        try:
            key_file.parent.mkdir(parents=True, exist_ok=True)
            scratch.touch(mode=0o600)
            scratch.write_text(key, encoding="ascii")
            scratch.replace(key_file)
        except OSError as error:
            raise CommandError(f"{key_file} cannot be written: {error.strerror}") from None

    return Backups(SqliteDatabase(STATE / "server" / "prefect.db"), read_key, write_key, console)


def prefect_version(root: Path) -> str:
    """Return the version of Prefect that this checkout's lock installs."""
    lock = (root / "requirements" / "server.txt").read_text(encoding="utf-8")
    found = re.search(r"(?m)^prefect==(\S+)", lock)
    if not found:
        raise CommandError("requirements/server.txt names no version of prefect; `make lock` compiles it")
    return found[1]
