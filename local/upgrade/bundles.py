"""Exchanges the bundle of a checkout without a network during an upgrade: each release has its own."""

import os
import shutil
from pathlib import Path

from local.bundle.bundle import FOLDER as _NAME
from local.bundle.bundle import SUMS, Bundle
from local.containers.images import record_of
from local.errors import CommandError
from local.settings.platform import ROOT
from local.upgrade.forms import size_of_files
from local.upgrade.journal import FOLDER


def take(source: str, root: Path = ROOT, state: Path = FOLDER) -> None:
    """Replace the old release's bundle with the new one's, and keep the old one.

    Args:
        source: The folder of the new bundle; empty for a release without one.
        root: The checkout.
        state: The folder in which the old bundle is kept.

    Raises:
        CommandError: The new bundle cannot be copied.
    """
    own, kept, scratch = root / _NAME, state / "bundle", root / f"{_NAME}.new"
    if own.exists() and not kept.exists():
        own.replace(kept)
    if not source:
        return
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        shutil.copytree(source, scratch, copy_function=_link)
        for folder, _, _ in os.walk(scratch):  # copies from a read-only medium could not be deleted
            Path(folder).chmod(0o755)
        scratch.replace(own)
        _take_record(own, root, state)
    except (OSError, shutil.Error) as error:
        raise CommandError(f"the bundle {source} cannot be copied to {own}: {error}") from None


def put_back(root: Path = ROOT, state: Path = FOLDER, *, had_one: bool) -> None:
    """Undo `take`, wherever it was interrupted, even before it began.

    Args:
        root: The checkout.
        state: The folder in which the old release's bundle is kept.
        had_one: Whether the old release has a bundle.
    """
    own, kept = root / _NAME, state / "bundle"
    shutil.rmtree(root / f"{_NAME}.new", ignore_errors=True)
    if kept.exists():
        shutil.rmtree(own, ignore_errors=True)
        kept.replace(own)
    elif not had_one:
        shutil.rmtree(own, ignore_errors=True)


def lend(source: str, release: Path) -> None:
    """Link the new release's bundle, into which nothing is written, into the trial's clone.

    Raises:
        CommandError: The checkout's disk has too little space for it.
    """
    if not source:
        return
    needed = size_of_files(Path(source))
    free = shutil.disk_usage(release).free
    if free < needed and not _can_link(source, release):
        raise CommandError(
            f"the disk of {release} has {free / 1e6:,.0f} MB free, and the bundle takes {needed / 1e6:,.0f} "
            "MB there; free some"
        )
    if not (release / _NAME).exists():
        (release / _NAME).symlink_to(source, target_is_directory=True)


def _link(source: str, target: str) -> None:
    """Link a file, as install.sh does, or copy it from another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def _can_link(source: str, folder: Path) -> bool:
    probe = folder / f"{_NAME}.probe"
    try:
        os.link(Path(source, SUMS), probe)
        probe.unlink()
    except OSError:
        return False
    return True


def _take_record(own: Path, root: Path, state: Path) -> None:
    """Take over the trial's record of loaded images, so that none is loaded while the platform is down."""
    try:
        bundle = Bundle.read(own)
    except CommandError:
        return  # the start of the platform reports it
    loaded = record_of(bundle, state / "release" / ".local")
    if loaded.is_file():
        record = record_of(bundle, root / ".local")
        record.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(loaded, record)


def forget(state: Path = FOLDER) -> None:
    """Delete the old release's bundle."""
    shutil.rmtree(state / "bundle", ignore_errors=True)
