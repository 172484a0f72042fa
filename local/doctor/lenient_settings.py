"""Reads as much as possible of a broken ``.env``, so that the doctor runs even then."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from local.errors import CommandError
from local.settings.dotenv import dotenv_script
from local.settings.platform import Settings, environment_of_commands


def settings_of(root: Path) -> tuple[Settings, str]:
    """Return the settings, and why ``.env`` cannot be read; its readable lines count even then."""
    try:
        return Settings.read(root), ""
    except CommandError as error:
        environment = environment_of_commands()
        return Settings({**_of_good_lines(root / ".env", environment), **environment}), str(error)


def _of_good_lines(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return {}
    script = dotenv_script()
    found: dict[str, str] = {}
    for line in text.splitlines():
        with suppress(script.DotenvError):
            found |= script.parse_dotenv(line, {**found, **environment})
    return found
