"""Tells the health check what the worker is waiting for before its first poll."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from yeedu_worker.free_space import prefect_home

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

# Whoever starts the worker waits for it to poll; only a later check should hear that it waits.
_SILENT_SECONDS = 60.0


def _file(environment: Mapping[str, str]) -> Path:
    return prefect_home(environment) / "worker-waits"


@contextmanager
def waiting(what: str) -> Generator[None]:
    """Tell the health check what the worker waits for, until the end of the block or of this process.

    Args:
        what: Completes the sentence "the worker waits for".
    """
    with ExitStack() as held:
        if sys.platform != "win32":  # which has no health check
            file = _file(os.environ)
            with suppress(OSError):  # another worker has the same home, or it cannot be written
                file.parent.mkdir(parents=True, exist_ok=True)
                opened = held.enter_context(file.open("w", encoding="utf-8"))
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                opened.write(what)
                opened.flush()
        yield


def waited_for(environment: Mapping[str, str]) -> str:
    """Return what the worker has waited for, for over a minute; empty if it does not wait."""
    if sys.platform == "win32":
        return ""
    with suppress(OSError), _file(environment).open(encoding="utf-8") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            age_seconds = time.time() - os.fstat(opened.fileno()).st_mtime
            return opened.read() if age_seconds > _SILENT_SECONDS else ""
    return ""
