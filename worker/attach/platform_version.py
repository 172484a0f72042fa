"""Reads the platform version of a checkout, and tells whether two versions may work together.

Standard library only, since the host's commands (`local.release.version`) use it too.
"""

import re
from collections.abc import Callable
from pathlib import Path

_DEFAULT = re.compile(r"\$\{PLATFORM_VERSION:-([^}]+)\}")
_RELEASE = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)


def platform_version(checkout: Path) -> str:
    """Return the version of a checkout; empty if it is not one of this platform."""
    return version_of_files(lambda name: _text(checkout / name))


def version_of_files(read: Callable[[str], str]) -> str:
    """Return the version that the files state; empty if none does.

    Args:
        read: Returns a file's text by its name; empty for a missing file.
    """
    said = read("VERSION").strip()
    found = None if said else _DEFAULT.search(read("docker-compose.yaml"))  # where older releases have it
    return found[1] if found else said


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""


def numbers(version: str) -> tuple[int, int, int] | None:
    """Return the three numbers of a release, ``1.2.3`` or ``v1.2.3``; `None` for anything else."""
    found = _RELEASE.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def is_near(own: str, servers: str) -> bool:
    """Tell whether a worker may serve a server: at the same release, or one patch release behind."""
    mine, theirs = numbers(own), numbers(servers)
    if mine is None or theirs is None:
        return own == servers
    return mine[:2] == theirs[:2] and 0 <= theirs[2] - mine[2] <= 1
