"""Copies a clone, and notices when the one to copy is not what it was."""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Git never changes an object's file, so that copies can share it.
_OBJECTS = os.path.join(".git", "objects", "")  # noqa: PTH118 - compared with texts


class DamagedError(Exception):
    """A file is not what it was when the list was made."""


class Entry(NamedTuple):
    """A file, link or folder, by its name relative to the clone.

    Attributes:
        name: Relative to the clone.
        mode: Type and permissions.
        size_bytes: Of a file.
        changed_nanoseconds: When a file was changed last.
        target: Of a link.
    """

    name: str
    mode: int
    size_bytes: int
    changed_nanoseconds: int
    target: str


def list_entries(folder: Path) -> list[Entry]:
    """Return everything in a folder; what contains something comes before it."""
    return list(_walk(str(folder), ""))


def _walk(folder: str, name: str) -> Iterator[Entry]:
    with os.scandir(os.path.join(folder, name)) as found:  # noqa: PTH118 - thousands of them
        for item in found:
            below = os.path.join(name, item.name)  # noqa: PTH118
            status = item.stat(follow_symlinks=False)
            target = os.readlink(item.path) if item.is_symlink() else ""  # noqa: PTH115
            is_folder = stat.S_ISDIR(status.st_mode)
            yield Entry(
                below,
                status.st_mode,
                0 if is_folder else status.st_size,
                0 if is_folder else status.st_mtime_ns,
                target,
            )
            if is_folder:
                yield from _walk(folder, below)


def write_list(file: Path, entries: list[Entry]) -> None:
    """Write the list of a clone's entries beside it."""
    file.write_text(json.dumps(entries), encoding="utf-8")


def read_list(file: Path) -> list[Entry]:
    """Read what `write_list` wrote.

    Raises:
        DamagedError: It is not such a list.
    """
    try:
        return [Entry(*entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, TypeError, ValueError) as error:
        raise DamagedError(f"{file}: {error}") from None


def copy_clone(source: Path, target: Path, entries: list[Entry]) -> None:
    """Copy a clone into an empty folder. Its objects are shared where the file system lets them be.

    Raises:
        DamagedError: The source is not what the list says.
        OSError: The target cannot be written.
    """
    here, there = str(source), str(target)
    for entry in entries:
        old, new = os.path.join(here, entry.name), os.path.join(there, entry.name)  # noqa: PTH118
        if stat.S_ISDIR(entry.mode):
            os.mkdir(new)  # noqa: PTH102
        elif stat.S_ISLNK(entry.mode):
            os.symlink(entry.target, new)  # noqa: PTH211
        elif not _is_as_listed(old, entry):
            raise DamagedError(f"{old} has changed")
        elif not (_is_object(entry) and _link(old, new)):
            _copy_file(old, new, entry.mode)


def _is_object(entry: Entry) -> bool:
    return entry.name.startswith(_OBJECTS)


def _is_as_listed(file: str, entry: Entry) -> bool:
    try:
        status = os.lstat(file)
    except OSError:
        return False
    # Git in a flow run may touch an object that it shares with others, but never writes to it.
    is_untouched = _is_object(entry) or status.st_mtime_ns == entry.changed_nanoseconds
    return is_untouched and (status.st_mode, status.st_size) == (entry.mode, entry.size_bytes)


def _link(old: str, new: str) -> bool:
    try:
        os.link(old, new)
    except OSError:  # another file system, for example
        return False
    return True


def _copy_file(old: str, new: str, mode: int) -> None:
    """Copy a file as git would have written it: under the flow run's own umask, executable or not."""
    permissions = 0o444 if not mode & stat.S_IWUSR else 0o777 if mode & stat.S_IXUSR else 0o666
    with (
        open(old, "rb") as reader,  # noqa: PTH123
        os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions), "wb") as writer,
    ):
        shutil.copyfileobj(reader, writer)
