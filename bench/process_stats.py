"""Reads what a process tree has used so far, as the operating system counts it."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from bench.usage import Usage
from local.processes.supervisor import Supervisor


def usage(number: int) -> Usage:
    """Return what a process and its descendants use; ended ones are in their parents' account.

    Args:
        number: The id of the process.
    """
    tree, memory_bytes = process_tree(number), 0
    for process in tree:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            memory_bytes += process.memory_full_info().pss
    return Usage(cpu_seconds(tree), memory_bytes)


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the processor seconds of processes, and of their children that ended."""
    seconds = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def own_cpu_seconds(number: int) -> tuple[float, float]:
    """Return the processor seconds of a process itself, and those of everything that it started."""
    times = psutil.Process(number).cpu_times()
    own = times.user + times.system
    return own, usage(number).cpu_seconds - own


def kill_tree(number: int) -> None:
    """Kill a process tree, without a request to end."""
    for process in process_tree(number):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def environment(number: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    return psutil.Process(number).environ()


def services(checkout: Path) -> dict[str, int]:
    """Return the ids of the local platform's long-running processes, by the name of their service."""
    supervisor = Supervisor(checkout / ".local")
    found = (supervisor.find(record.name) for record in supervisor.records())
    return {record.name: record.pid for record in found if record}


def process_tree(number: int) -> list[psutil.Process]:
    """Return a process and its descendants.

    Raises:
        psutil.NoSuchProcess: It has ended.
    """
    leader = psutil.Process(number)
    return [leader, *leader.children(recursive=True)]
