"""The settings of one environment of deployer/environments.yaml: ``.env.NAME`` over ``.env``."""

import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from local.errors import CommandError
from local.settings.dotenv import read_dotenv
from local.settings.platform import ROOT, Settings

SECRETS = ("FLOWS_GIT_TOKEN", "YEEDU_PASSWORD", "YEEDU_TOKEN", "WAREHOUSE_PASSWORD")
# The settings that an environment may have of its own: those that its deployments and blocks are made from.
_ITS_OWN = re.compile(
    r"(?:FLOWS_GIT|YEEDU|WAREHOUSE)_(?!MOCK_|UI_URL|POSTGRES_|REF|SSH_|KNOWN_HOSTS|SSL_CERT_FILE)\w+"
)
# If an environment sets one of the first, it takes none of the second from `.env`: a login belongs together.
_LOGINS = (
    (("YEEDU_PASSWORD", "YEEDU_TOKEN"), ("YEEDU_PASSWORD", "YEEDU_TOKEN")),
    (("WAREHOUSE_URL", "WAREHOUSE_PASSWORD"), ("WAREHOUSE_PASSWORD",)),
    (("FLOWS_GIT_TOKEN",), ("FLOWS_GIT_TOKEN",)),
)


@dataclass(frozen=True, repr=False)
class EnvironmentSettings(Settings):
    """The settings of one environment.

    Attributes:
        values: The platform's settings, overridden by the environment's own.
        own: What the environment's file sets.
        secrets: The settings of the secrets that the environment does not take from the platform.
    """

    own: Mapping[str, str]
    secrets: tuple[str, ...]

    @property
    def own_addresses(self) -> dict[str, str]:
        """What the environment's file sets, without secrets and the files that hold them."""
        hidden = {*SECRETS, *(f"{name}_FILE" for name in SECRETS)}
        return {name: value for name, value in self.own.items() if name not in hidden}

    def secret(self, name: str) -> str:
        """Return a secret's value, or an empty string for none.

        Raises:
            CommandError: Its file cannot be read, or it is given twice, or has several lines.
        """
        value, file = self.get(name), self.path(f"{name}_FILE")
        if value and file:
            raise CommandError(f"{name} and {name}_FILE are both set; remove one of them")
        try:
            value = file.read_text(encoding="utf-8").strip() if file else value.strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{name}_FILE: {file} cannot be read: {error}") from None
        if "\n" in value:
            raise CommandError(f"{name}_FILE: {file} holds more than one line; a secret is one line of text")
        return value


def settings_of(environment: str, settings: Settings, root: Path = ROOT) -> EnvironmentSettings:
    """Read ``.env.NAME`` over ``.env``; this process's environment takes precedence over both.

    Args:
        environment: The environment's name; empty for the platform itself, which has no file but ``.env``.
        settings: The platform's settings.
        root: The folder of the file.

    Raises:
        CommandError: The file cannot be read, or sets what only the platform may set.
    """
    file = root / f".env.{environment}"
    if os.sep in environment:
        raise CommandError(f"ENVIRONMENT={environment!r} is not an environment's name")
    found = read_dotenv(file, {**settings.values, **os.environ}) if environment else {}
    for name in found:
        if not _ITS_OWN.fullmatch(name):
            raise CommandError(
                f"{file.name} sets {name}, which is the platform's: it belongs into .env; an environment has "
                "FLOWS_GIT_URL, FLOWS_GIT_TOKEN, YEEDU_... and WAREHOUSE_... of its own"
            )
    own = {name: value for name, value in found.items() if name not in os.environ}
    left_out: set[str] = set()
    for reasons, dropped in _LOGINS:
        if any(name in own or f"{name}_FILE" in own for name in reasons):
            left_out.update(dropped)
    hidden = left_out | {f"{name}_FILE" for name in left_out}
    values = {
        name: value for name, value in settings.values.items() if name not in hidden or name in os.environ
    }
    return EnvironmentSettings({**values, **own}, own, tuple(name for name in SECRETS if name in left_out))


@contextmanager
def secret_files(settings: EnvironmentSettings) -> Generator[Path]:
    """Write each of the environment's own secrets to a file named after its setting, until the block ends.

    Other users of this machine cannot read them; a container that mounts the folder can, as any user.

    Raises:
        CommandError: A secret cannot be used.
    """
    with TemporaryDirectory(prefix="yeedu-prefect-") as private:
        folder = Path(private) / "secrets"
        folder.mkdir()
        for name in settings.secrets:
            file = folder / name
            file.touch(mode=0o600)
            file.write_text(settings.secret(name), encoding="utf-8")
            file.chmod(0o444)
        folder.chmod(0o755)
        yield folder
