"""Stops the running worker from another process, in the same way on every system."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attach import windows_task
from attach.paths import Paths
from attach.run_lock import holder, is_held

_POLL_SECONDS = 0.2
_SPARE_SECONDS = 20.0  # beyond the worker's grace period, for the supervisor to end


def stop(paths: Paths, grace_seconds: float, say: Callable[[str], None]) -> None:
    """Ask the worker to stop, and wait until it has; kill it if it does not stop in time."""
    lock, request = Path(paths.lock), Path(paths.stop_request)
    if not is_held(lock):
        return
    number = holder(lock)
    say(f"stopping process {number}")
    request.touch()
    deadline = time.monotonic() + grace_seconds + _SPARE_SECONDS
    while is_held(lock):
        if time.monotonic() > deadline and (number := holder(lock)):  # 0: it is about to write its number
            say(f"process {number} did not stop in time: ending it")
            _end(number)
            deadline = float("inf")
        time.sleep(_POLL_SECONDS)
    request.unlink(missing_ok=True)


def _end(number: int) -> None:
    if sys.platform == "win32":
        subprocess.run(windows_task.tree_end_command(number), capture_output=True, check=False)
    else:
        os.kill(number, signal.SIGKILL)
