"""How much memory and disk space is left for flow runs; read by the health check."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Less than this is too little for a flow run with its clone; in a small place, less than a twentieth of it.
_MIN_BYTES = 128 * 1024 * 1024
_SHARE = 20
_CGROUP = Path("/sys/fs/cgroup")


def prefect_home(environment: Mapping[str, str]) -> Path:
    """Return the folder where Prefect and this worker keep what outlives a flow run: ``PREFECT_HOME``."""
    return Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()


def shortages(environment: Mapping[str, str], cgroup: Path = _CGROUP) -> Iterator[str]:
    """Yield a sentence about each place, or memory, that has too little space left.

    Args:
        environment: The worker's.
        cgroup: Where the kernel reports on this container; without one, memory is not checked.
    """
    # Not what `tempfile` finds: it does not report a full folder, but looks for another one.
    temporary = Path(environment.get("TMPDIR") or "/tmp")  # noqa: S108 - the container's own
    for place in dict.fromkeys((temporary, prefect_home(environment))):
        if place.exists():
            usage = shutil.disk_usage(place)
            if usage.free < _least(usage.total):
                yield _sentence(str(place), usage.free, usage.total)
    memory = _memory(cgroup)
    if memory and memory[0] < _least(memory[1]):
        yield _sentence("memory, with what is in /tmp", *memory)


def _memory(cgroup: Path) -> tuple[int, int] | None:
    """Return the container's free and total memory in bytes; `None` if it has no limit."""
    try:
        most = (cgroup / "memory.max").read_text(encoding="ascii").strip()
        taken = int((cgroup / "memory.current").read_text(encoding="ascii"))
        lines = (cgroup / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    if not most.isdecimal():
        return None
    # The kernel frees the cache of files when memory is needed.
    given_back = sum(
        int(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "active_file "))
    )
    return int(most) - max(taken - given_back, 0), int(most)


def _least(total: int) -> int:
    return min(_MIN_BYTES, total // _SHARE)


def _sentence(what: str, left: int, total: int) -> str:
    megabyte = 1024 * 1024
    return (
        f"too little space for flow runs: {left // megabyte} of {total // megabyte} MB are left of {what}; "
        f"free some, or restart the worker"
    )


def is_short(place: Path) -> bool:
    """Tell whether less than a twentieth of a place is left."""
    usage = shutil.disk_usage(place)
    return usage.free < usage.total // _SHARE
