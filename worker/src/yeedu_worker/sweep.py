"""Deletes the working folders that killed workers left behind."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_YOUNG_SECONDS = 60.0


def sweep_left_folders(folder: Path | None = None) -> int:
    """Delete the working folders of flow runs in which no process works any more; return how many there were.

    Prefect's process worker makes one for each flow run, with the flow's clone inside, and deletes it when
    the run has ended; a worker that is killed does not. Folders of another user are left alone, and so are
    all where nothing tells what processes work in (there is no ``/proc``).

    Args:
        folder: Where they are; ``None`` for where this process makes its own.
    """
    if sys.platform != "linux":
        return 0
    used = _used_folders()
    count = 0
    for left in (folder or Path(tempfile.gettempdir())).glob("tmp*prefect"):
        with suppress(OSError):
            status = left.stat()
            is_young = time.time() - status.st_mtime < _YOUNG_SECONDS
            if is_young or status.st_uid != os.getuid() or not left.is_dir():
                continue
            if not any(path.is_relative_to(left.resolve()) for path in used):
                shutil.rmtree(left)
                count += 1
    return count


def _used_folders() -> list[Path]:
    """Return where the processes of this machine work."""
    found: list[Path] = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # another user's, or ended
            found.append(link.readlink())
    return found
