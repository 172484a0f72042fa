"""The settings of a ``.env`` that cannot be read as a whole, which is when a doctor is asked."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from local.errors import CommandError
from local.settings.dotenv import dotenv_script
from local.settings.platform import Knobs, environment_of_commands


def knobs_of(root: Path) -> tuple[Knobs, str]:
    """Return the settings, and why ``.env`` cannot be read; then they are those of its lines that can be."""
    try:
        return Knobs.read(root), ""
    except CommandError as error:
        environment = environment_of_commands()
        return Knobs({**_of_good_lines(root / ".env", environment), **environment}), str(error)


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
