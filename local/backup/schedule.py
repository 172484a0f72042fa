"""Scheduled backups of local processes (containers have server/backup), and the age of the newest backup."""

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from local.backup.backups import of_processes
from local.console import Console
from local.errors import CommandError
from local.install.virtual_environment import PROGRAMS
from local.processes.service import Service
from local.settings.platform import ROOT, Settings
from local.status.metrics import age_of

FOLDER = ROOT / "backups"
PROFILE = "backup"
_BY_HAND = "yeedu-prefect-%Y%m%dT%H%M%SZ.tar"
_SCHEDULED = "scheduled-%Y%m%dT%H%M%SZ.tar"
LATE_SECONDS = 600
_RETRY_SECONDS = 60


def backup_lines(settings: Settings) -> Iterator[str]:
    """Yield the newest backup's age and the number of backups; nothing if another server is used."""
    if settings.other_server:
        return
    found = backups_in(FOLDER)
    if found:
        age = age_of(datetime.now(UTC) - found[-1][1])
        yield f"backups         the newest is {age} old, of {len(found)} in {FOLDER.name}/"
    else:
        yield f"backups         none in {FOLDER.name}/; `make backup` creates one"


def backups_in(folder: Path) -> list[tuple[Path, datetime]]:
    """Return the backups of a folder with the times at which they were made, oldest first."""
    return _made(folder, _BY_HAND, _SCHEDULED)


def are_scheduled(settings: Settings) -> bool:
    """Tell whether ``COMPOSE_PROFILES`` asks for backups."""
    return PROFILE in settings.get("COMPOSE_PROFILES").split(",")


def seconds_between(settings: Settings) -> int:
    """Return the seconds from one backup to the next: a day by default."""
    return settings.seconds("BACKUP_EVERY_SECONDS", 86400)


def scheduled_backups(settings: Settings) -> list[Service]:
    """Return the process that makes backups; none unless ``COMPOSE_PROFILES`` asks for it."""
    if not are_scheduled(settings) or settings.other_server:
        return []
    command = [str(PROGRAMS / "python"), "-P", "-m", "local.backup.schedule"]
    every_seconds, keep = _plan(settings)
    environment = {
        "PYTHONPATH": str(ROOT),
        "BACKUP_EVERY_SECONDS": str(every_seconds),
        "BACKUP_KEEP": str(keep),
    }
    assignments = [f"{name}={value}" for name, value in environment.items()]
    return [
        Service(
            PROFILE,
            command,
            environment,
            sources=("local",),
            ready_command=("env", *assignments, *command, "--check"),
        )
    ]


def _plan(settings: Settings) -> tuple[int, int]:
    """Return the seconds from one backup to the next, and how many to keep (default: seven)."""
    return seconds_between(settings), settings.count("BACKUP_KEEP", 7)


def _made(folder: Path, *forms: str) -> list[tuple[Path, datetime]]:
    """Return the backups of a folder with the times in their names, oldest first.

    Backups from the future are left out: the clock was wrong when they were made.
    """
    found: list[tuple[Path, datetime]] = []
    for file in folder.glob("*.tar"):
        for form in forms:
            try:
                made = datetime.strptime(file.name, form).replace(tzinfo=UTC)
            except ValueError:
                continue
            if made <= datetime.now(UTC):
                found.append((file, made))
    return sorted(found, key=lambda one: one[1])


def _left_seconds(every_seconds: int) -> float:
    """Return the seconds until the next backup is due; negative when it is overdue."""
    found = _made(FOLDER, _SCHEDULED)
    return every_seconds - (datetime.now(UTC) - found[-1][1]).total_seconds() if found else 0.0


def _back_up(keep: int, console: Console) -> None:
    """Make a backup, and delete the oldest scheduled ones; backups made by hand stay."""
    of_processes(console).backup(FOLDER / f"{datetime.now(UTC):{_SCHEDULED}}")
    for file, _ in _made(FOLDER, _SCHEDULED)[:-keep]:
        file.unlink()


def main(arguments: Sequence[str]) -> None:
    """Make backups until stopped, or (``--check``) succeed when the newest one is not overdue."""
    console = Console()
    try:
        every_seconds, keep = _plan(Settings.read())
    except CommandError as error:
        sys.exit(f"backup: {error}")
    if arguments == ["--check"]:
        sys.exit(0 if _left_seconds(every_seconds) > -LATE_SECONDS and _made(FOLDER, _SCHEDULED) else 1)
    while True:
        try:
            time.sleep(max(_left_seconds(every_seconds), 0))
            _back_up(keep, console)
        except (CommandError, OSError) as error:
            console.step(f"backup       failed, retrying in {_RETRY_SECONDS} s: {error}")
            time.sleep(_RETRY_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
