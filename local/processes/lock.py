"""A lock: only one command at a time changes the local processes."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from local.errors import CommandError


@contextmanager
def exclusive(file: Path) -> Generator[None]:
    """Hold the lock file for the duration of a block; the system frees it however this process ends.

    Raises:
        CommandError: Another command holds it.
    """
    import fcntl  # not on Windows, where containers do not need it

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise CommandError(
                f"another command is running on this checkout's platform (process {holder}); "
                f"wait for it, or end it"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
