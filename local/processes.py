"""Starts long-running processes that outlive this command, remembers them on disk, and ends them later."""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from local.family import TOKEN_VARIABLE, await_end, family, is_living, living_processes, send

_ORPHAN_SECONDS = 3.0
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Record:
    """What is remembered of a process that was started: enough to never take another one for it.

    Attributes:
        name: The service.
        token: What it and its children carry in their environment.
        fingerprint: Of what it was started from; another one means that it has to be started again.
        port: The port at which it answers; 0 for none.
        pid: Its number; 0 until it runs.
        started: When it began, as the system tells it.
    """

    name: str
    token: str
    fingerprint: str
    port: int
    pid: int = 0
    started: str = ""

    @property
    def is_living(self) -> bool:
        """Whether the process itself still runs."""
        return is_living(self.pid, self.started)


class Supervisor:
    """The processes of one folder: ``processes/NAME.json`` is the record, ``logs/NAME.log`` the output.

    Args:
        folder: Where both are kept.
        grace_seconds: How long a process that was asked to end may take.
    """

    def __init__(self, folder: Path, grace_seconds: float = 10.0) -> None:
        self._grace_seconds = grace_seconds
        self._records = folder / "processes"
        self._logs = folder / "logs"
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        port: int = 0,
        fingerprint: str = "",
    ) -> Record:
        """Start a process in a session of its own, with its output in its log.

        Args:
            name: Its name; the process of that name must not run.
            command: The program and its arguments.
            environment: All that it gets to see.
            folder: Its working directory.
            port: Recorded, see `Record`.
            fingerprint: Recorded, see `Record`.

        Raises:
            OSError: The program cannot be started.
        """
        for parent in (self._records, self._logs, folder):
            parent.mkdir(parents=True, exist_ok=True)
        if name in self._children:
            self._children[name].wait()
        record = Record(name, secrets.token_hex(16), fingerprint, port)
        self._write(record)  # before it runs: should this command be killed in between, the token finds it
        log = self.log(name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as output:
            child = subprocess.Popen(
                command,
                env={**environment, TOKEN_VARIABLE: record.token},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[name] = child
        process = living_processes().get(child.pid)
        record = Record(name, record.token, fingerprint, port, child.pid, process.started if process else "")
        self._write(record)
        return record

    def log(self, name: str) -> Path:
        """Return where the output of a process goes."""
        return self._logs / f"{name}.log"

    def exit_code(self, name: str) -> int | None:
        """Return the exit code of a process that this object started; ``None`` while it runs."""
        return self._children[name].poll()

    @property
    def started(self) -> list[str]:
        """The names of the processes that this object started, in that order."""
        return list(self._children)

    def records(self) -> list[Record]:
        """Return every record, of living and dead processes, in the order in which they were started."""
        files = self._records.glob("*.json") if self._records.is_dir() else ()
        return [record for file in sorted(files, key=_age) if (record := _read(file))]

    def find(self, name: str) -> Record | None:
        """Return the record of a process that still runs."""
        record = _read(self._records / f"{name}.json")
        return record if record and record.is_living else None

    def stop(self, name: str, grace_seconds: float | None = None, then: signal.Signals | None = None) -> bool:
        """End a process and everything that it started; return whether anything was left to end.

        Args:
            name: The process.
            grace_seconds: How long it may take; ``None`` for as long as any.
            then: What the process itself is told right after it was asked to end.

        The process itself is asked first, so that it can end its own children in order; what remains then is
        asked, and what remains after that is killed.
        """
        file = self._records / f"{name}.json"
        record = _read(file)
        if record is None:
            return False
        members = family(record.pid, record.started, record.token)
        leader = [member for member in members if member.pid == record.pid]
        send(leader, signal.SIGTERM)
        if then:
            send(leader, then)
        await_end(leader, self._grace_seconds if grace_seconds is None else grace_seconds)
        # A child may have been started, or have lost its parent, in the meantime.
        rest = list({*members, *family(record.pid, record.started, record.token)})
        send(rest, signal.SIGTERM)
        left = await_end(rest, min(self._grace_seconds, _ORPHAN_SECONDS))
        send(left, signal.SIGKILL)
        await_end(left, _KILL_SECONDS)
        if name in self._children:
            self._children[name].wait()
        file.unlink(missing_ok=True)
        return bool(members)

    def _write(self, record: Record) -> None:
        file = self._records / f"{record.name}.json"
        scratch = file.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        scratch.replace(file)


def _age(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _read(file: Path) -> Record | None:
    """Return the record in the file; ``None`` when there is none, or it is not one."""
    try:
        return Record(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None


def last_lines(log: Path, count: int = 15) -> str:
    """Return the last lines of a log, or nothing when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 200 * count))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])
