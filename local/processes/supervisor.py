"""Starts processes that outlive this command, records them on disk, and stops them later.

supervisord runs them, and restarts one that dies. This module keeps what supervisord does not know: what they
are started from, and which of their children left their process group.
"""

import dataclasses
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.processes.process_tree import await_end, send, tree_of
from local.processes.record import Record, end_of, last_exit, read_record, write_record
from local.processes.supervisord import (
    BACKOFF,
    EXITED,
    FATAL,
    RUNNING,
    STARTING,
    STOPPING,
    Supervisord,
    program,
)

_ORPHAN_SECONDS = 3.0
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.05
_BUSY = frozenset({STARTING, RUNNING, BACKOFF, STOPPING})


class Supervisor:
    """The processes of one folder: ``processes/NAME.json`` is the record, ``logs/NAME.log`` the output.

    Args:
        folder: Where both are kept.
        grace_seconds: How long a process may take to end after it was asked to.
        retries: How often a process that ends within `start_seconds` is restarted, each time a second later,
            before it is given up.
        start_seconds: How long a process has to run to count as started.
    """

    def __init__(
        self, folder: Path, grace_seconds: float = 10.0, *, retries: int = 10, start_seconds: int = 30
    ) -> None:
        self._grace_seconds = grace_seconds
        self._restart_policy = {"retries": retries, "start_seconds": start_seconds}
        self._records = folder / "processes"
        self._logs = folder / "logs"
        self._supervisord = Supervisord(folder)
        self.started: list[str] = []
        """The names of the processes that this object started, in that order."""

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        port: int = 0,
        fingerprint: str = "",
        restarts: bool = True,
    ) -> None:
        """Start a process, with its output in its log.

        Args:
            name: Its name; the process of that name must not run.
            command: The program and its arguments.
            environment: Its whole environment.
            folder: Its working directory.
            port: Recorded, see `Record`.
            fingerprint: Recorded, see `Record`.
            restarts: Whether to restart it when it ends.

        Raises:
            CommandError: supervisord cannot be started.
        """
        for parent in (self._records, self._logs, folder):
            parent.mkdir(parents=True, exist_ok=True)
        record = Record(
            name,
            secrets.token_hex(16),
            fingerprint,
            port,
            tuple(command),
            dict(environment),
            str(folder),
            restarts,
        )
        write_record(record, self._file(name))
        programs = [
            program(known.name, restarts=known.restarts, **self._restart_policy) for known in self.records()
        ]
        self.started = [*(one for one in self.started if one != name), name]
        self._supervisord.configure(name, programs)
        self._supervisord.ask("startProcess", name, False)

    def log(self, name: str) -> Path:
        """Return the file that a process's output goes to."""
        return self._logs / f"{name}.log"

    def exit_code(self, name: str) -> int | None:
        """Return the exit code of a process that is not restarted; ``None`` while it runs."""
        info = self._info(name)
        if info.get("state") in _BUSY:
            return None
        return int(info["exitstatus"]) if info.get("state") == EXITED else -1

    def records(self) -> list[Record]:
        """Return every record, of living and dead processes, in the order in which they were started."""
        files = self._records.glob("*.json") if self._records.is_dir() else ()
        return [record for file in sorted(files, key=_age) if (record := read_record(file))]

    def find(self, name: str) -> Record | None:
        """Return the record of a process that runs, with its number."""
        record, info = read_record(self._file(name)), self._info(name)
        return dataclasses.replace(record, pid=info["pid"]) if record and info.get("pid") else None

    def started_at(self, name: str) -> datetime | None:
        """Return when a process was last started; ``None`` if it never was."""
        start = self._info(name).get("start")
        return datetime.fromtimestamp(start, UTC) if start else None

    def trouble(self, name: str) -> str:
        """Return why a started process does not run, or was restarted; empty if neither is the case."""
        if read_record(self._file(name)) is None:
            return ""
        state, how = self._info(name).get("state"), last_exit(self._supervisord.log, self._file(name))
        if state is None:
            return f"supervisord is gone, see {self._supervisord.log}; `make up` starts both"
        if state == FATAL:
            times = self._restart_policy["retries"] + 1
            return (
                f"given up: it ended {times} times soon after its start, the last time by {how}; "
                f"its log says why: {self.log(name)}; `make up` tries again"
            )
        if state == BACKOFF:
            return f"restarting: {how}"
        return f"restarted: {how}" if how else ""

    def is_running(self) -> bool:
        """Tell whether supervisord runs, with or without processes."""
        return self._supervisord.is_running()

    def end_idle(self) -> None:
        """End supervisord if nothing is left for it to run."""
        if not self.records():
            self._supervisord.end()

    def end_left(self) -> None:
        """End what is left of a supervisord that was killed, since nothing would restart it."""
        if not self._supervisord.is_running():
            for record in self.records():
                self.stop(record.name)

    def stop(self, name: str, grace_seconds: float | None = None, then: signal.Signals | None = None) -> bool:
        """End a process and its process tree; return whether there was anything to end.

        The process itself is asked first, so that it can end its own children in order; what remains then is
        asked, and what remains after that is killed. supervisord ends with the last process.

        Args:
            name: The process.
            grace_seconds: How long it may take; ``None`` for the usual grace period.
            then: A signal for the process itself, sent right after it was asked to end.
        """
        file = self._file(name)
        record = read_record(file)
        if record is None:
            return False
        leader = self._info(name).get("pid", 0)
        members = tree_of(leader, record.token)
        deadline = time.monotonic() + (self._grace_seconds if grace_seconds is None else grace_seconds)
        while (state := self._info(name).get("state")) in _BUSY or (state == EXITED and record.restarts):
            late_seconds = time.monotonic() - deadline
            if state != STOPPING:
                self._supervisord.ask("stopProcess", name, False)
                if then:
                    self._supervisord.ask("signalProcess", name, then.name)
            elif late_seconds > _KILL_SECONDS:
                break  # the system does not release it
            elif late_seconds > 0:
                self._supervisord.ask("signalProcess", name, "KILL")
            time.sleep(_POLL_SECONDS)
        # A child may have been started, or have lost its parent, in the meantime.
        rest = list({*members, *tree_of(0, record.token)})
        send(rest, signal.SIGTERM)
        left = await_end(rest, min(self._grace_seconds, _ORPHAN_SECONDS))
        send(left, signal.SIGKILL)
        await_end(left, _KILL_SECONDS)
        file.unlink(missing_ok=True)
        self.end_idle()
        return bool(members)

    def _file(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _info(self, name: str) -> dict[str, Any]:
        """Return what supervisord knows about a process; empty if it does not run or does not know it."""
        return self._supervisord.ask("getProcessInfo", name) or {}


def _age(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def last_lines(log: Path, count: int = 15) -> str:
    """Return the last lines of a log; empty if there is none."""
    return "\n".join(end_of(log, 200 * count).splitlines()[-count:])
