"""The lake: the file system that raw files are kept in, chosen by the name of a block."""

import asyncio
import inspect
from typing import Any

from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem, WritableFileSystem
from prefect.settings import get_current_settings


class LakeError(RuntimeError):
    """The lake cannot be used; the message says why."""


def open_lake(block: str) -> WritableFileSystem:
    """Return the file system of a block, or the folder `lake` of this worker's Prefect home.

    Args:
        block: The block's type and name, such as `s3-bucket/lake` or `gcs-bucket/lake`; every type that reads
            and writes paths will do, when its package is installed on the worker. Empty: the folder.

    Raises:
        LakeError: There is no such block, its package is missing, or it is no file system.
    """
    if not block:
        return LocalFileSystem(basepath=str(get_current_settings().home / "lake"))
    kind, slash, name = block.partition("/")
    if not (kind and slash and name):
        raise LakeError(f"{block!r} names no block; give its type and name, such as 's3-bucket/lake'.")
    try:
        found: Any = Block.load(block.replace("_", "-"))
    except Exception as error:  # noqa: BLE001 - what a block's own package raises when it is read
        raise LakeError(f"The block {block!r} cannot be loaded: {' '.join(str(error).split())}") from None
    if not isinstance(found, WritableFileSystem):
        raise LakeError(f"The block {block!r} is no file system: it has no read_path and write_path.")
    return found


def write_file(lake: WritableFileSystem, path: str, content: bytes) -> None:
    """Write a file, over one that is there."""
    _finish(lake.write_path(path, content))


def read_file(lake: WritableFileSystem, path: str) -> bytes:
    """Read a file that was written before."""
    return _finish(lake.read_path(path))


def _finish(answer: Any) -> Any:
    """Wait for an answer where a block's methods are coroutines; most are plain when called from here."""

    async def wait() -> Any:
        return await answer

    return asyncio.run(wait()) if inspect.isawaitable(answer) else answer
