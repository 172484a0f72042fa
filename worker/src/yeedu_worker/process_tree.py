"""Process trees: finds the descendants of a process, and kills all of them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_PAUSE_SECONDS = 0.01


class Member(NamedTuple):
    """A process.

    Attributes:
        number: Its process number.
        threads: How many threads it has; each counts where processes are limited.
    """

    number: int
    threads: int


ChildrenByParent = dict[int, list[Member]]


def children_by_parent() -> ChildrenByParent:
    """Return the children of every process of this machine; empty if there is no ``/proc``."""
    found: ChildrenByParent = {}
    for name in os.listdir("/proc") if Path("/proc/self/stat").exists() else ():  # noqa: PTH208 - for speed
        if name.isdecimal():
            with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as status:  # noqa: PTH123
                # The second field is the program's name in parentheses, and may contain anything.
                fields = status.read().rpartition(b")")[2].split()
                found.setdefault(int(fields[1]), []).append(Member(int(name), int(fields[17])))
    return found


def descendants(*processes: int, among: ChildrenByParent | None = None) -> list[Member]:
    """Return all descendants of some processes.

    Args:
        processes: The numbers of those.
        among: The result of `children_by_parent`, if it was called already.
    """
    known = children_by_parent() if among is None else among
    waiting, found = list(processes), list[Member]()
    while waiting:
        children = known.get(waiting.pop(), [])
        found += children
        waiting += [child.number for child in children]
    return found


def kill(processes: Iterable[int]) -> None:
    """Kill processes; stop all of them first, so that none starts another meanwhile."""
    members = list(processes)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for member in members:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, number)


def kill_tree(process: int) -> None:
    """Kill a process and its descendants, including those that it starts meanwhile."""
    tree = [process]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        tree = list(dict.fromkeys([process, *(found.number for found in descendants(process)), *tree]))
        for member in tree:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member, number)


def end_children(spare: Collection[int] = (), within_seconds: float = 10.0) -> bool:
    """Kill all children of this process, all their descendants, and all orphans that this process adopts.

    It has to adopt orphans (`prctl.adopt_orphans`), or some escape.

    Args:
        spare: Children to leave alone, with all of their descendants.
        within_seconds: How long to try. A process that waits for a disk cannot be killed.

    Returns:
        Whether none of them is left.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        known = children_by_parent()
        targets = [child.number for child in known.get(os.getpid(), []) if child.number not in spare]
        if not targets:
            return True
        kill([*targets, *(member.number for member in descendants(*targets, among=known))])
        left = len(targets)
        for target in targets:
            with suppress(ChildProcessError):
                left -= os.waitpid(target, os.WNOHANG)[0] == target
        if time.monotonic() > deadline:
            return False
        if left:
            time.sleep(_PAUSE_SECONDS)
