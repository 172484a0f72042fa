"""The record of a process that supervisord runs: how it is started, and how its last instance ended."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path

_LOG_BYTES = 200_000
_EXITED = re.compile(r"(?m)^(\S+ [\d:]+),\d+ \w+ exited: (\S+) \((.+?); (?:not )?expected\)$")


@dataclass(frozen=True)
class Record:
    """One process.

    Attributes:
        name: The service.
        token: What it and its children carry in their environment.
        fingerprint: A digest of what it was started from; another one means that it has to be restarted.
        port: The port at which it answers; 0 for none.
        command: The program and its arguments.
        environment: Its whole environment.
        folder: Its working directory.
        restarts: Whether it is started again when it ends.
        pid: Its number while it runs; not stored, since it changes.
    """

    name: str
    token: str
    fingerprint: str = ""
    port: int = 0
    command: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    folder: str = "."
    restarts: bool = True
    pid: int = 0


def write_record(record: Record, file: Path) -> None:
    """Write the record completely or not at all, readable only by this user."""
    scratch = file.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    scratch.touch(mode=0o600)
    scratch.write_text(json.dumps(asdict(record), indent=2), encoding="utf-8")
    scratch.replace(file)


def read_record(file: Path) -> Record | None:
    """Return the record in the file, even an older platform's; ``None`` if it is not a record."""
    names = {one.name for one in fields(Record)} - {"pid"}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return Record(**{name: value for name, value in found.items() if name in names})
    except (OSError, TypeError, ValueError, AttributeError):
        return None


def last_exit(log: Path, record_file: Path) -> str:
    """Return when and how the last process of a record ended by itself; empty if none did.

    Args:
        log: supervisord's log.
        record_file: The record's file, which is rewritten whenever a command starts the process.
    """
    try:
        since = datetime.fromtimestamp(int(record_file.stat().st_mtime))  # noqa: DTZ006 - as in the log
    except FileNotFoundError:
        return ""
    found = _EXITED.findall(end_of(log, _LOG_BYTES))
    own = [(date, how) for date, name, how in found if name == record_file.stem]
    return f"{own[-1][1]} at {own[-1][0]}" if own and str(since) <= own[-1][0] else ""


def end_of(log: Path, size: int) -> str:
    """Return the last bytes of a log as text; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
