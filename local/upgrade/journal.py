"""The journal of an upgrade, written before each step: it tells the next ``make upgrade`` what to undo."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from local.errors import CommandError
from local.processes.services import STATE

FOLDER = STATE / "upgrade"
RELEASE = FOLDER / "release"  # the clone in which the new release is tried


class Phase(StrEnum):
    """How far an upgrade has got; it does not touch the running platform before `SWITCHING`."""

    PREPARING = "preparing"
    SWITCHING = "switching"
    SWITCHED = "switched"


@dataclass(frozen=True)
class Journal:
    """One upgrade.

    Attributes:
        form: ``containers`` or ``local processes``.
        old: The release that it came from.
        new: The release that it goes to.
        old_commit: The checkout's commit before the upgrade.
        new_commit: The checkout's commit after it; empty until the new release is fetched.
        backup: The file of the backup; empty until it is made.
        queues: The ids of the queues that were paused for the switch.
        bundle: The folder of the bundle that the new release comes from; empty for none.
        had_bundle: Whether the old release has a bundle; known from the switch on.
        profiles: The profiles of services that ran although `COMPOSE_PROFILES` does not ask for them.
        has_files: Whether files of the checkout were changed, or were about to be.
        has_begun: Whether the new release was started, so that it may have written to the database.
        phase: How far it has got.
    """

    form: str
    old: str
    new: str
    old_commit: str
    new_commit: str = ""
    backup: str = ""
    queues: Sequence[str] = field(default_factory=tuple[str, ...])
    bundle: str = ""
    had_bundle: bool = True
    profiles: Sequence[str] = field(default_factory=tuple[str, ...])
    has_files: bool = True
    has_begun: bool = False
    phase: Phase = Phase.PREPARING


def write(journal: Journal, folder: Path = FOLDER) -> Journal:
    """Write the journal completely or not at all; it is on the disk when this returns.

    Raises:
        CommandError: It cannot be written.
    """
    file = folder / "journal.json"
    scratch = file.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch.open("w", encoding="utf-8") as stream:
            json.dump(asdict(journal), stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(file)
        _sync(folder)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    return journal


def read(folder: Path = FOLDER) -> Journal | None:
    """Return the journal of an upgrade that has not ended; ``None`` if there is none.

    Raises:
        CommandError: It cannot be read.
    """
    file = folder / "journal.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        known: dict[str, Any] = {one.name: found[one.name] for one in fields(Journal) if one.name in found}
        known |= {"phase": Phase(found["phase"]), "queues": tuple(found["queues"])}
        known |= {"profiles": tuple(found.get("profiles", ()))}
        return Journal(**known)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CommandError(f"{file} cannot be read ({error}); it is of an upgrade that did not end") from None


def forget(folder: Path = FOLDER) -> None:
    """Delete the journal: the upgrade has ended, one way or the other."""
    (folder / "journal.json").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Write a folder's file names to the disk, since a rename changes them."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
