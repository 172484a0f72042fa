"""``make restore``: reads and validates a backup's file before anything is started or stopped."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from local.backup.archive import DATABASE, KEY, SETTINGS, Manifest, read_archive
from local.backup.backups import prefect_version
from local.console import Console
from local.errors import CommandError
from local.install.packages import own_certificate
from local.script import load_script
from local.settings.dotenv import read_dotenv
from local.settings.platform import ROOT, Settings, environment_of_commands

_FORMS = {"postgres": "containers", "sqlite": "local processes"}
_ENCRYPTION_KEY = "PREFECT_SERVER_ENCRYPTION_KEY"
# Settings that Docker's commands obey: with them a file could run anything on this machine, as root.
_OF_DOCKER = re.compile(r"(?!COMPOSE_(PROJECT_NAME|PROFILES)$)(BUILDKIT|BUILDX|COMPOSE|DOCKER)_\w*", re.ASCII)


@dataclass(frozen=True, repr=False)
class Backup:
    """A verified backup. It has no useful ``repr``, since it holds passwords.

    Attributes:
        source: The file.
        manifest: What it holds.
        database: The dump of the database, unpacked.
        key: The key that the blocks in it are encrypted with.
        env_file: Its ``.env``, unpacked; ``None`` when it has none, or the checkout has one.
        settings: The platform's settings, including those of `env_file`.
        root: The checkout.
    """

    source: Path
    manifest: Manifest
    database: Path
    key: str
    env_file: Path | None
    settings: Settings
    root: Path

    def check(self, kind: str) -> None:
        """Refuse a backup that this platform cannot restore.

        Args:
            kind: The kind of database that the platform has here.

        Raises:
            CommandError: It is from the other form or a newer Prefect, or its settings do not fit.
        """
        made = self.manifest
        if made.database != kind:
            raise CommandError(
                f"{self.source} is a backup of {_FORMS[made.database]}; this platform runs as {_FORMS[kind]}"
            )
        if numbers_of(made.prefect) > numbers_of(prefect_version(self.root)):
            raise CommandError(
                f"{self.source} is of Prefect {made.prefect}, newer than this checkout's "
                f"{prefect_version(self.root)}; check out the version that it was made with"
            )
        if self.settings.other_server:
            raise CommandError(
                f"runs, deployments and blocks are on {self.settings.other_server}; restore the backup there"
            )
        if self.settings.secret(_ENCRYPTION_KEY) not in {"", self.key}:
            raise CommandError(
                f"{self.source}: its blocks are encrypted with another key than {_ENCRYPTION_KEY} is; "
                "remove that from .env, and the backup's key is used"
            )
        self._check_files()

    def _check_files(self) -> None:
        """Refuse settings that name files of another machine.

        Raises:
            CommandError: A file or folder is missing.
        """
        self.settings.config_dir()
        own_certificate(self.settings)
        script = load_script(ROOT / "server" / "generate_secrets.py")
        for name in (f"{secret.setting}_FILE" for secret in script.SECRETS):
            file = self.settings.path(name)
            if file and not file.exists():
                raise CommandError(f"{name}={file}: there is no such file; a backup holds none: put it there")

    @contextmanager
    def settings_in_place(self, console: Console) -> Generator[None]:
        """Restore ``.env`` if there is none, and remove it again if the block fails.

        Existing settings are never overwritten.
        """
        target = self.root / ".env"
        if self.env_file is None:
            yield
            return
        scratch = target.with_name(".env.restored")
        try:
            scratch.touch(mode=0o600)
            scratch.write_bytes(self.env_file.read_bytes())
            scratch.replace(target)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise CommandError(f"{target} cannot be written: {error.strerror}") from None
        console.step("settings     .env restored")
        try:
            yield
        except BaseException:
            target.unlink()
            console.step("settings     .env removed again")
            raise


@contextmanager
def opened(source: Path, console: Console, root: Path = ROOT) -> Generator[Backup]:
    """Unpack a backup for the duration of the block, and check its contents.

    Args:
        source: A file that ``make backup`` wrote.
        console: Where progress is shown.
        root: The checkout, whose ``.env`` takes precedence over the backup's.

    Raises:
        CommandError: The backup is not intact, its key is not valid, or its settings need a review first.
    """
    with TemporaryDirectory() as folder:
        parts = Path(folder)
        manifest = read_archive(source, parts)
        key = (parts / KEY).read_bytes().decode("ascii", errors="replace").strip()
        script = load_script(ROOT / "server" / "generate_secrets.py")
        try:
            script.check_fernet_key(key)
        except script.SecretError:
            raise CommandError(f"{source}: its key is not a Fernet key; use another backup") from None
        today, env_file = root / ".env", parts / SETTINGS
        if not env_file.exists() or today.exists():
            if env_file.exists() and today.read_bytes() != env_file.read_bytes():
                console.step("settings     .env differs from the backup's, and is kept")
            yield Backup(source, manifest, parts / DATABASE, key, None, Settings.read(root), root)
            return
        yield Backup(source, manifest, parts / DATABASE, key, env_file, _settings_of(source, env_file), root)


def _settings_of(source: Path, env_file: Path) -> Settings:
    """Return the platform's settings with those of a backup's ``.env``.

    Raises:
        CommandError: They cannot be read, or would decide what else runs on this machine.
    """
    environment = environment_of_commands()
    try:
        values = read_dotenv(env_file, environment)
    except CommandError as error:
        raise CommandError(f"{source}: {str(error).replace(str(env_file), SETTINGS)}") from None
    if names := sorted(filter(_OF_DOCKER.fullmatch, values)):
        raise CommandError(
            f"{source}: its {SETTINGS} sets {', '.join(names)}, which decides what runs on this machine; "
            f"look at `tar -xOf {quote(str(source))} {SETTINGS}`, write what you trust of it into .env, "
            "and restore again"
        )
    return Settings({**values, **environment})


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparing versions."""
    return tuple(int(number) for number in re.findall(r"\d+", version))
