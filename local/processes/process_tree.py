"""Finds a process tree: a process and everything that it started, including orphans and other sessions.

Flow runs, jobs and Jupyter kernels begin sessions of their own, and become children of process 1 when their
parent dies. So a process belongs to a tree when it descends from the leader, is in the leader's group, or
(Linux) carries the tree's token in its environment.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TOKEN_VARIABLE = "YEEDU_LOCAL_PROCESS"  # noqa: S105 - a mark, not a secret
_PROC = Path("/proc")
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    """A living process, identified by its number and start time, since the system reuses numbers."""

    pid: int
    started: str
    parent: int
    group: int


def living_processes() -> dict[int, Process]:
    """Return every process of the machine by number, without those that only wait to be reaped."""
    return from_proc() if sys.platform == "linux" else from_ps()


def from_proc() -> dict[int, Process]:
    """Read Linux's /proc."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    found: dict[int, Process] = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it ended meanwhile
        # After the name, which is in parentheses and may hold anything: state, parent, group, ...
        fields = stat.rpartition(")")[2].split()
        if fields[0] not in "ZX":
            pid = int(folder.name)
            found[pid] = Process(pid, f"{boot}:{fields[19]}", int(fields[1]), int(fields[2]))
    return found


def from_ps() -> dict[int, Process]:
    """Ask ``ps``, where there is no /proc."""
    listing = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,pgid=,stat=,lstart="],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    found: dict[int, Process] = {}
    for line in listing.stdout.splitlines():
        pid, parent, group, state, started = line.split(maxsplit=4)
        if not state.startswith("Z"):
            found[int(pid)] = Process(int(pid), started, int(parent), int(group))
    return found


def tree_of(leader: int, token: str) -> list[Process]:
    """Return every living process that belongs to a process tree.

    Args:
        leader: The number of the process that began the tree if that is known to live, else 0.
        token: The token that each process carries in its environment.
    """
    living = living_processes()
    members = {
        pid: one
        for pid, one in living.items()
        if pid == leader or (leader and one.group == leader) or _has_token(pid, token)
    }
    while True:
        children = {pid: one for pid, one in living.items() if one.parent in members and pid not in members}
        if not children:
            members.pop(os.getpid(), None)
            return list(members.values())
        members |= children


def _has_token(pid: int, token: str) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False  # another user's, or no /proc
    return f"{TOKEN_VARIABLE}={token}".encode() in environment.split(b"\0")


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """Send a signal to those processes that still live."""
    living = living_processes()
    for process in processes:
        current = living.get(process.pid)
        if current and current.started == process.started:
            try:
                os.kill(process.pid, number)
            except (ProcessLookupError, PermissionError):
                continue


def await_end(processes: Iterable[Process], timeout_seconds: float) -> list[Process]:
    """Wait until the processes have ended, and return those that have not ended in time."""
    deadline = time.monotonic() + timeout_seconds
    left = list(processes)
    while left:
        living = living_processes()
        left = [one for one in left if one.pid in living and living[one.pid].started == one.started]
        if left and time.monotonic() > deadline:
            break
        if left:
            time.sleep(_POLL_SECONDS)
    return left
