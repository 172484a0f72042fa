"""``make backup`` and ``make restore``: the database, the key that decrypts its blocks, and the settings."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Protocol

from local.archive import read_archive, write_archive
from local.console import Console
from local.databases import PostgresDatabase, SqliteDatabase
from local.engine import Project
from local.errors import CommandError
from local.knobs import ROOT
from local.services import SECRETS, STATE

_DATABASE = "database"
_KEY = "encryption-key"
_SETTINGS = "settings.env"
_FORMS = {"postgres": "containers", "sqlite": "local processes"}


class Database(Protocol):
    """What both forms of the platform can do with Prefect's database; see `local.databases`."""

    kind: str

    def dump(self, target: Path) -> None:
        """Write a consistent dump of the database as it is now."""
        ...

    def load(self, dump: Path) -> None:
        """Load a dump beside the database in use, which stays as it is."""
        ...

    def switch(self) -> None:
        """Put the loaded database in the place of the one in use."""
        ...


@dataclass(frozen=True)
class Backups:
    """Makes backups of one form of the platform, and restores them.

    Attributes:
        database: Prefect's database.
        read_key: Returns the key that encrypts the blocks.
        write_key: Puts another key in its place.
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
            target: The file to write; by default one in ``backups/`` that is named after the time.

        Raises:
            CommandError: Something could not be read, or the file not be written.
        """
        now = datetime.now(UTC)
        target = target or self.root / "backups" / f"yeedu-prefect-{now:%Y%m%dT%H%M%SZ}.tar"
        with TemporaryDirectory() as folder:
            parts = Path(folder)
            self.console.step("database     copying it as it is at this moment")
            self.database.dump(parts / _DATABASE)
            (parts / _KEY).write_text(self.read_key(), encoding="ascii")
            settings = self.root / ".env"
            if settings.is_file():
                shutil.copyfile(settings, parts / _SETTINGS)
            write_archive(target, parts, self.database.kind, prefect_version(self.root), now.isoformat())
        self.console.step(f"backup       {target} ({target.stat().st_size / 1e6:.1f} MB)")
        self.console.say("It holds passwords and the key to them: keep it where only you can read it.")

    def restore(self, source: Path, stop: Callable[[], None]) -> None:
        """Replace the platform's data by a backup's; nothing is touched before the backup was tried out.

        Args:
            source: A file that `backup` wrote.
            stop: Ends every process that uses the database.

        Raises:
            CommandError: The file is no complete backup for this form and version of the platform.
        """
        with TemporaryDirectory() as folder:
            parts = Path(folder)
            manifest = read_archive(source, parts)
            if manifest.database != self.database.kind:
                raise CommandError(
                    f"{source} is a backup of {_FORMS.get(manifest.database, manifest.database)}; "
                    f"this platform runs as {_FORMS[self.database.kind]}"
                )
            if _numbers(manifest.prefect) > _numbers(prefect_version(self.root)):
                raise CommandError(
                    f"{source} is of Prefect {manifest.prefect}, newer than this checkout's "
                    f"{prefect_version(self.root)}; check out the version that it was made with"
                )
            self.console.step(f"backup       of {manifest.created}, Prefect {manifest.prefect}: complete")
            try:
                self.database.load(parts / _DATABASE)
            except CommandError as error:
                raise CommandError(f"{source}: {error}") from None
            self.console.step("database     loaded beside the one in use")
            stop()
            self.write_key((parts / _KEY).read_text(encoding="ascii"))
            self.database.switch()
            self.console.step("database     in place, with its key")
            self._restore_settings(parts / _SETTINGS)

    def _restore_settings(self, saved: Path) -> None:
        """Bring ``.env`` back where there is none; settings of today are never overwritten."""
        settings = self.root / ".env"
        if not saved.exists():
            return
        if not settings.exists():
            shutil.copyfile(saved, settings)
            settings.chmod(0o600)
            self.console.step("settings     .env is back")
        elif settings.read_bytes() != saved.read_bytes():
            self.console.step("settings     .env differs from the backup's, and was left as it is")


def of_containers(project: Project, console: Console) -> Backups:
    """Return the backups of the platform in containers; ``server`` has to run for one to be made."""

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

    def write_key(key: str) -> None:
        key_file.parent.mkdir(parents=True, exist_ok=True)
        key_file.touch(mode=0o600)
        key_file.write_text(key, encoding="ascii")

    return Backups(SqliteDatabase(STATE / "server" / "prefect.db"), key_file.read_text, write_key, console)


def prefect_version(root: Path) -> str:
    """Return the version of Prefect that this checkout's lock installs."""
    lock = (root / "requirements" / "server.txt").read_text(encoding="utf-8")
    found = re.search(r"(?m)^prefect==(\S+)", lock)
    if not found:
        raise CommandError("requirements/server.txt names no version of prefect; `make lock` compiles it")
    return found[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
