"""Reads and compares versions of the platform."""

from collections.abc import Callable
from pathlib import Path

from local.errors import CommandError
from local.script import load_script
from local.settings.platform import ROOT

_SCRIPT = Path(__file__).parents[2] / "worker" / "attach" / "platform_version.py"


def platform_version(root: Path = ROOT) -> str:
    """Return the version of a checkout, such as ``0.1.0``.

    Raises:
        CommandError: It is not a checkout of this platform.
    """
    version: str = load_script(_SCRIPT).platform_version(root)
    if not version:
        raise CommandError(f"{root} is no checkout of this platform: it names no version of it")
    return version


def version_of_files(read: Callable[[str], str]) -> str:
    """Return the version that files outside a checkout state; empty if none states it.

    Args:
        read: Returns a file's text by its name; empty if there is no such file.
    """
    return load_script(_SCRIPT).version_of_files(read)


def numbers(version: str) -> tuple[int, int, int]:
    """Return the numbers of a release, ``1.2.3`` or ``v1.2.3``, for comparing releases.

    Raises:
        CommandError: It is not a release's version.
    """
    found: tuple[int, int, int] | None = load_script(_SCRIPT).numbers(version)
    if not found:
        raise CommandError(f"{version!r} is no version: it has three numbers, as in 1.4.0")
    return found


def is_release(version: str) -> bool:
    """Tell whether a version is a release's: three numbers and nothing else."""
    return load_script(_SCRIPT).numbers(version) is not None


def is_near(own: str, servers: str) -> bool:
    """Tell whether an attached worker may work for a server: same release, or one patch release behind."""
    return load_script(_SCRIPT).is_near(own, servers)
