"""What tests build once for all checkouts, under `~/.cache/yeedu-prefect`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def built_once(name: str) -> Iterator[Path]:
    """Give the place of something that is built once; no other process has it meanwhile.

    Args:
        name: Relative to the cache; its parents are made, itself is not.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yeedu-prefect"
    place = cache / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        if sys.platform != "win32":  # where tests do not run side by side
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield place
