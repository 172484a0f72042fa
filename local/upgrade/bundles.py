"""The bundle that a checkout without a network is installed from: it goes with the release that it is of."""

import shutil
from pathlib import Path

from local.errors import CommandError
from local.knobs import ROOT
from local.upgrade.journal import FOLDER

_NAME = ".bundle"


def take(source: str, root: Path = ROOT, state: Path = FOLDER) -> None:
    """Put the new release's bundle in the place of the old one's, which is kept.

    Args:
        source: The folder of the new one; empty for a release that comes without.
        root: The checkout.
        state: Where the old one is kept.

    Raises:
        CommandError: There is no room for it.
    """
    own, kept, scratch = root / _NAME, state / "bundle", root / f"{_NAME}.new"
    if own.exists() and not kept.exists():
        own.replace(kept)
    if not source:
        return
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        shutil.copytree(source, scratch)
        scratch.replace(own)
    except (OSError, shutil.Error) as error:
        raise CommandError(f"the bundle {source} cannot be copied to {own}: {error}") from None


def is_there(root: Path = ROOT) -> bool:
    """Whether the checkout has one."""
    return (root / _NAME).exists()


def put_back(root: Path = ROOT, state: Path = FOLDER, *, had_one: bool) -> None:
    """Undo `take`, wherever it was cut off, also before it began.

    Args:
        root: The checkout.
        state: Where the old release's is kept.
        had_one: Whether the old release has one.
    """
    own, kept = root / _NAME, state / "bundle"
    shutil.rmtree(root / f"{_NAME}.new", ignore_errors=True)
    if kept.exists():
        shutil.rmtree(own, ignore_errors=True)
        kept.replace(own)
    elif not had_one:
        shutil.rmtree(own, ignore_errors=True)


def lend(source: str, release: Path) -> None:
    """Let the trial's clone have the new release's bundle."""
    if source and not (release / _NAME).exists():
        (release / _NAME).symlink_to(source, target_is_directory=True)


def forget(state: Path = FOLDER) -> None:
    """Delete the old release's bundle."""
    shutil.rmtree(state / "bundle", ignore_errors=True)
