"""Reads ``.env`` files as Docker Compose does, so that a line means the same with and without Docker."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from local.errors import CommandError
from local.script import load_script


def read_dotenv(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file; none if the file is missing.

    Args:
        file: The file; it may be missing.
        environment: What ``$NAME`` in a value refers to, before the file's own earlier lines.

    Raises:
        CommandError: The file cannot be read, or a line is not ``NAME=value``.
    """
    if not file.exists():
        return {}
    script = dotenv_script()
    try:
        found: dict[str, str] = script.read_dotenv(file, environment)
    except script.DotenvError as error:
        raise CommandError(str(error)) from None
    return found


def dotenv_script() -> ModuleType:
    """Return the module that reads such files, which workers use too."""
    return load_script(Path(__file__).parents[2] / "worker" / "src" / "yeedu_worker" / "dotenv.py")
