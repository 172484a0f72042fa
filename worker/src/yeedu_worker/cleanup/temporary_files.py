"""Deletes temporary files that flow runs left behind, once no run can need them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from yeedu_worker.free_space import is_short, prefect_home
from yeedu_worker.run_environment import FOLDER_PREFIX, remove

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yeedu_worker.draining import DrainingWorker

_YOUNG_SECONDS = 60.0
_OLD_SECONDS = 3600.0
_EVERY_SECONDS = 30.0
# The worker's own, or deleted in other ways.
_KEPT = ("tmp*prefect", f"{FOLDER_PREFIX}*", "yeedu-prefork-*", "runner_storage")


def delete_orphaned_folders(folder: Path | None = None) -> int:
    """Delete flow runs' working folders in which no process works; return how many were deleted.

    Prefect's process worker creates one for each flow run, with the flow's clone inside, and this worker
    another for temporary files. Both are deleted when the run ends, but not if the worker is killed. Another
    user's folders are left alone, and so are all of them where nothing says what processes work in (there is
    no ``/proc``).

    Args:
        folder: Where they are; ``None`` for this process's own folder of temporary files.
    """
    if sys.platform != "linux":
        return 0
    used = list(_used())
    place = folder or Path(tempfile.gettempdir())
    count = sum(_remove_unlocked(left) for left in place.glob(f"{FOLDER_PREFIX}*"))
    for left in place.glob("tmp*prefect"):
        with suppress(OSError):
            status = left.stat()
            is_young = time.time() - status.st_mtime < _YOUNG_SECONDS
            if is_young or status.st_uid != os.getuid() or not left.is_dir():
                continue
            if not any(path.is_relative_to(left.resolve()) for path in used):
                shutil.rmtree(left)
                count += 1
    return count


async def clean_up_periodically(worker: DrainingWorker, environment: Mapping[str, str]) -> None:
    """Delete, again and again, what flow runs leave in this worker's own temporary folder, if it has one.

    Environment:
        WORKER_OWN_TEMPORARY_FOLDER: The folder, which nothing else uses; empty for none.
    """
    folder = environment.get("WORKER_OWN_TEMPORARY_FOLDER") or ""
    while folder:
        await anyio.sleep(_EVERY_SECONDS)
        count = await anyio.to_thread.run_sync(
            _clean_up, Path(folder), prefect_home(environment), not worker.active
        )
        if count:
            print(f"worker: deleted {count} files and folders that flow runs left in {folder}", flush=True)


def _clean_up(folder: Path, home: Path, is_idle: bool) -> int:
    count = delete_orphaned_files(folder, home, is_idle)
    # Those of a killed worker; the folder of a run that is claimed meanwhile is young, and stays.
    return count + (delete_orphaned_folders(folder) if is_idle else 0)


def delete_orphaned_files(folder: Path, home: Path, is_idle: bool) -> int:
    """Delete what flow runs left in the worker's own folder; return how many files and folders.

    An entry is deleted a minute after its last change if no run is in flight or space is short, else an hour.
    What a process works in or has open stays, and so do the worker's own files.

    Args:
        folder: Where they are.
        home: Prefect's home, which may be in the folder, and stays.
        is_idle: Whether no flow run is under way.
    """
    if sys.platform != "linux" or not folder.is_dir():
        return 0
    age_seconds = _YOUNG_SECONDS if is_idle or is_short(folder) else _OLD_SECONDS
    used = list(_used())
    kept = [home, Path(tempfile.gettempdir())]
    count = 0
    for left in folder.iterdir():
        if any(left.match(pattern) for pattern in _KEPT) or any(one.is_relative_to(left) for one in kept):
            continue
        with suppress(OSError):
            if left.lstat().st_uid != os.getuid() or time.time() - _changed_at(left) < age_seconds:
                continue
            if not any(path.is_relative_to(left) for path in used):
                count += remove(left)
    return count


def _changed_at(path: Path) -> float:
    """Return when a file, or anything in a folder, last changed."""
    newest = max(path.lstat().st_mtime, path.lstat().st_ctime)
    if path.is_dir() and not path.is_symlink():
        for place, _, names in os.walk(path):
            for name in (".", *names):
                with suppress(OSError):
                    status = os.lstat(os.path.join(place, name))  # noqa: PTH118 - there may be many
                    newest = max(newest, status.st_mtime, status.st_ctime)
    return newest


def _remove_unlocked(folder: Path) -> bool:
    """Delete a flow run's folder if its worker is gone; return whether it was deleted."""
    try:
        file = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # another user's
        return False
    try:
        if os.fstat(file).st_uid != os.getuid():
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return remove(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(file)


def _used() -> Iterator[Path]:
    """Yield the working directories and open files of this machine's processes."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # another user's, closed to others, or ended
            yield (process / "cwd").readlink()
            for link in (process / "fd").iterdir():
                with suppress(OSError):
                    yield link.readlink()
