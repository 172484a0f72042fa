"""Deletes persisted results and task caches past their retention."""

from __future__ import annotations

import logging
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from prefect.settings import get_current_settings

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("prefect.workers.results")  # shown where Prefect's own are

_PAUSE_SECONDS = 3600.0


async def delete_old_results_hourly(retention_seconds: int) -> None:
    """Delete old results once an hour, as long as the worker runs; with 0 seconds, keep all."""
    folder: Path = get_current_settings().results.local_storage_path
    while retention_seconds:
        if count := await to_thread.run_sync(delete_old_results, folder, retention_seconds):
            logger.info("deleted %d results that were older than %d s", count, retention_seconds)
        await anyio.sleep(_PAUSE_SECONDS)


def delete_old_results(folder: Path, retention_seconds: int) -> int:
    """Delete a folder's files that were not written to for that long; return how many were deleted.

    Links and their targets are left alone; so are folders, and files that cannot be deleted.
    """
    oldest, count = time.time() - retention_seconds, 0
    for parent, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(parent, name)  # noqa: PTH118 - of very many
            with suppress(OSError):
                status = os.lstat(file)
                if stat.S_ISREG(status.st_mode) and status.st_mtime < oldest:
                    os.unlink(file)  # noqa: PTH108
                    count += 1
    return count
