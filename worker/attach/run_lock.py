"""The lock file that tells other processes that a worker runs."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

from attach.errors import AttachError

_LOCKED_BYTE = 1 << 30  # far past the content: on Windows nobody else can read locked bytes
_TRIES, _PAUSE_SECONDS = 10, 0.1  # `is_held` takes the lock for a moment

if sys.platform == "win32":
    import msvcrt

    def _try_to_lock(file: BufferedRandom) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_to_lock(file: BufferedRandom) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


@contextmanager
def held(path: Path, number: int) -> Generator[None]:
    """Hold the lock while the block runs, and write the number of this process into the file.

    Raises:
        AttachError: Another process holds it.
    """
    with path.open("a+b") as file:
        if not any(_try_to_lock(file) or time.sleep(_PAUSE_SECONDS) for _ in range(_TRIES)):
            raise AttachError(
                f"this worker already runs as process {holder(path)}; stop it, or give another --name"
            )
        file.truncate(0)
        file.write(str(number).encode())
        file.flush()
        yield


def is_held(path: Path) -> bool:
    """Tell whether some process holds the lock."""
    try:
        with path.open("r+b") as file:
            return not _try_to_lock(file)
    except FileNotFoundError:
        return False


def holder(path: Path) -> int:
    """Return the number of the process that last took the lock; 0 if there is none."""
    try:
        text = path.read_bytes().decode(errors="replace").strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0
