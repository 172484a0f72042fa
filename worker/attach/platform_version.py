"""The version of the platform that a checkout is of, and how far apart two of them may be.

Of the standard library alone, since the host's commands (`local.version`) read it here too.
"""

import re
from pathlib import Path

FILES = ("VERSION", "docker-compose.yaml")  # the first one that says it
_DEFAULT = re.compile(r"\$\{PLATFORM_VERSION:-([^}]+)\}")
_RELEASE = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)


def platform_version(checkout: Path) -> str:
    """Return the version of a checkout; empty when it is none of this platform."""
    return next(filter(None, (version_in(name, _text(checkout / name)) for name in FILES)), "")


def version_in(name: str, text: str) -> str:
    """Return the version that one of `FILES` says; empty when it says none."""
    if name == "VERSION":
        return text.strip()
    found = _DEFAULT.search(text)
    return found[1] if found else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""


def numbers(version: str) -> tuple[int, int, int] | None:
    """Return the three numbers of a release, ``1.2.3`` or ``v1.2.3``; of anything else, `None`."""
    found = _RELEASE.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def is_near(own: str, servers: str) -> bool:
    """Tell whether a worker may work for a server: of its release, or one patch release behind."""
    mine, theirs = numbers(own), numbers(servers)
    if mine is None or theirs is None:
        return own == servers
    return mine[:2] == theirs[:2] and 0 <= theirs[2] - mine[2] <= 1
