"""Opens the lake, the file system for raw files, by the name of a block."""

import asyncio
import inspect
from typing import Any

from prefect.filesystems import LocalFileSystem, WritableFileSystem
from prefect.settings import get_current_settings

from blocks import BlockError, load_block


class LakeError(RuntimeError):
    """The lake cannot be used; the message says why."""


def open_lake(block: str) -> WritableFileSystem:
    """Return the file system of a block, or the folder `lake` of this worker's Prefect home.

    Args:
        block: The block's type and name, such as `s3-bucket/lake` or `gcs-bucket/lake`; any type that reads
            and writes paths works, if its package is installed on the worker. Empty for the folder.

    Raises:
        LakeError: There is no such block, or it is not a file system.
        MissingPackageError: The block's package is not installed on this worker.
    """
    if not block:
        return LocalFileSystem(basepath=str(get_current_settings().home / "lake"))
    try:
        found = load_block(block, "s3-bucket/lake")
    except BlockError as error:
        raise LakeError(str(error)) from None
    if not isinstance(found, WritableFileSystem):
        raise LakeError(f"The block {block!r} is no file system: it has no read_path and write_path.")
    return found


def write_file(lake: WritableFileSystem, path: str, content: bytes) -> None:
    """Write a file, replacing an existing one."""
    _finish(lake.write_path(path, content))


def read_file(lake: WritableFileSystem, path: str) -> bytes:
    """Read a file that was written before."""
    return _finish(lake.read_path(path))


def _finish(answer: Any) -> Any:
    """Return an answer, awaited if the block's method is a coroutine; most are not when called from here."""

    async def wait() -> Any:
        return await answer

    return asyncio.run(wait()) if inspect.isawaitable(answer) else answer
