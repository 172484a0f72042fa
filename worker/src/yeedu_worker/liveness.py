"""The worker's liveness signal, which its watchdog waits for.

It comes from the event loop in which the worker polls, and stops when that loop hangs or polls stop ending.
An outage of the server does not stop it: polls end then too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from yeedu_worker.draining import DrainingWorker

# Holds the file to write them to, and the number of the worker's parent.
LIVENESS_VARIABLE = "YEEDU_WORKER_SIGNS"
EVERY_SECONDS = 2.0
_FIRST_SECONDS = 0.1  # between checks before the first signal
# Longer than Prefect's client keeps trying a server that takes a minute for each answer.
_STUCK_SECONDS = 900.0


def follow_watchdog(environment: MutableMapping[str, str]) -> int | None:
    """Let this process die with its watchdog, if it has one, and return the file for the liveness signal."""
    file, _, parent = environment.pop(LIVENESS_VARIABLE, "").partition(" ")
    if not file or sys.platform != "linux":
        return None
    from yeedu_worker.prctl import end_with_parent

    os.set_inheritable(int(file), False)
    with contextlib.suppress(OSError):
        end_with_parent(int(parent))
    return int(file)


async def signal_liveness(worker: DrainingWorker, file: int) -> None:
    """Signal for ever that the worker is alive, from the end of its first poll on.

    Before that, slow imports run, and it may wait for the server.
    """
    import anyio  # only here: the watchdog imports this module too, and stays small

    pause_seconds = _FIRST_SECONDS
    while True:
        if worker.is_draining or 0 < worker.seconds_since_poll < _STUCK_SECONDS:
            with contextlib.suppress(OSError):
                os.write(file, b".")
            pause_seconds = EVERY_SECONDS
        await anyio.sleep(pause_seconds)
