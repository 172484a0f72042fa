"""The watchdog of the worker's process: restarts it when it hangs or is killed, and kills its orphans.

It is the parent of the worker and of the prefork server, and receives the signals meant for the worker. A
container's first process starts it, and Docker restarts the container when it ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from yeedu_worker.liveness import LIVENESS_VARIABLE
from yeedu_worker.prctl import adopt_orphans, close_to_others
from yeedu_worker.process_tree import end_children

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from yeedu_worker.prefork.keeper import Keeper

_RELAYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_POLL_SECONDS = 1.0
_SWEEP_SECONDS = 10.0
# A longer gap is not counted as silence: the container or machine, and so this process, was asleep.
_MAX_SEEN_SECONDS = 2.0
_MIN_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0


class Watchdog:
    """Keeps a worker running.

    Args:
        command: The worker's command line.
        hung_seconds: After how long without a liveness signal it is killed and restarted; 0 for never.
        keeper: The prefork server's; `None` for no such server.
    """

    def __init__(self, command: Sequence[str], hung_seconds: float, keeper: Keeper | None) -> None:
        self._command = command
        self._hung_seconds = hung_seconds
        self._keeper = keeper
        self._worker: subprocess.Popen[bytes] | None = None
        self._is_told = False
        self._silent_seconds = 0.0

    def run(self) -> int:
        """Run the worker until it ends by itself or as told; return its exit code.

        The code of a killed worker is the signal's number, negated.
        """
        with contextlib.suppress(OSError):
            adopt_orphans()
            close_to_others()
        for number in _RELAYED:
            signal.signal(number, self._relay)
        if self._keeper:
            self._keeper.start()
        pause_seconds = 0.0
        while True:
            began = time.monotonic()
            code = self._run_worker()
            self._end_orphans()
            if self._is_told or code >= 0:
                break
            lasted_seconds = time.monotonic() - began
            pause_seconds = min(2 * pause_seconds or _MIN_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
            pause_seconds = _MIN_PAUSE_SECONDS if lasted_seconds > _MAX_PAUSE_SECONDS else pause_seconds
            print(f"worker: killed by signal {-code}, and its flow runs with it; restarting", flush=True)
            time.sleep(pause_seconds)
            if self._is_told:
                break
        if self._keeper:
            self._keeper.stop()
        return code

    def _relay(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGUSR1:
            self._is_told, self._silent_seconds = True, 0.0
        if self._worker:
            self._worker.send_signal(number)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _run_worker(self) -> int:
        """Run a worker until it ends, killing it if it hangs; return its exit code."""
        liveness, file = os.pipe()
        environment = {**os.environ, LIVENESS_VARIABLE: f"{file} {os.getpid()}"}
        try:
            # In a session of its own: a terminal's interrupt then comes only from here, and so only once.
            self._worker = subprocess.Popen(
                self._command, env=environment, pass_fds=[file], start_new_session=True
            )
            os.close(file)
            return self._watch(self._worker, liveness)
        finally:
            os.close(liveness)

    def _watch(self, worker: subprocess.Popen[bytes], liveness: int) -> int:
        waiting = select.poll()
        pidfd = os.pidfd_open(worker.pid)
        for file in (liveness, pidfd):
            waiting.register(file, select.POLLIN)
        has_begun = False
        self._silent_seconds = 0.0
        looked_at = swept_at = time.monotonic()
        try:
            while worker.poll() is None:
                events = dict(waiting.poll(_POLL_SECONDS * 1000))
                now = time.monotonic()
                self._silent_seconds += min(now - looked_at, _MAX_SEEN_SECONDS)
                looked_at = now
                if events.get(liveness, 0) & select.POLLIN and os.read(liveness, 4096):
                    has_begun, self._silent_seconds = True, 0.0
                elif liveness in events:  # closed: the worker is ending
                    waiting.unregister(liveness)
                # Before its first signal it may wait for its pool, but not once it is told to stop.
                if (has_begun or self._is_told) and 0 < self._hung_seconds < self._silent_seconds:
                    print(f"worker: no sign of life for {self._silent_seconds:.0f} s; killing it", flush=True)
                    worker.kill()
                    worker.wait()
                if now - swept_at > _SWEEP_SECONDS:
                    self._end_orphans()
                    swept_at = time.monotonic()
            return worker.returncode
        finally:
            os.close(pidfd)

    def _end_orphans(self) -> None:
        """Kill what flow runs have left behind that has no guard."""
        worker = {self._worker.pid} if self._worker and self._worker.poll() is None else set[int]()
        if not self._keeper:
            end_children(worker)
            return
        with self._keeper.lock:
            end_children({*worker, *self._keeper.children()})
