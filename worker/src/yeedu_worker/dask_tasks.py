"""Ends cancelled tasks on a Dask worker; Dask itself lets a running thread continue.

The scheduler releases a task when its flow run gives it up: the run was cancelled, has ended, or its process
is gone. The task's thread then gets an exception, like the one that a cancellation raises in a flow run's own
process, so that it can clean up. A thread that waits in native code does not see the exception; if it still
runs after `GRACE_SECONDS`, the process exits, and its supervisor restarts it. Each Dask worker has one thread
for tasks, so this ends no other task.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin
from prefect.exceptions import TerminationSignal

if TYPE_CHECKING:
    from distributed import Worker

GRACE_SECONDS = 30.0  # the same that a flow run has from its cancellation to its kill
EXIT_CODE = 75  # try again later


class TaskTakenBack(TerminationSignal):
    """The flow run has given this task up."""

    def __init__(self) -> None:
        super().__init__(signal.SIGTERM)


class EndTakenBack(WorkerPlugin):
    """Ends the threads of tasks that the scheduler releases while they run."""

    name = "end-taken-back"

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._worker: Worker | None = None

    def setup(self, worker: Worker) -> None:
        """Remember the worker whose tasks these are."""
        self._worker = worker

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Raise in the thread of a task that is released while it runs, and check later that it has ended."""
        if (start, finish) != ("executing", "released"):
            return
        for thread in self._threads_of(key):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(TaskTakenBack)
            )
            last = threading.Timer(self._grace_seconds, self._leave_if_still_there, (thread, key))
            last.daemon = True
            last.start()

    def _threads_of(self, key: Any) -> list[int]:
        worker = self._worker
        if worker is None:
            return []
        with worker.active_threads_lock:
            return [thread for thread, of in worker.active_threads.items() if of == key]

    def _leave_if_still_there(self, thread: int, key: Any) -> None:
        if thread in self._threads_of(key):
            print(f"dask worker: {key} was cancelled and does not end; killing its process", file=sys.stderr)
            os._exit(EXIT_CODE)


async def dask_setup(worker: Worker) -> None:
    """Add the plugin; Dask calls this when the worker starts (`--preload`)."""
    await worker.plugin_add(EndTakenBack())
