"""Supervises the worker's process: restarts it, rotates its log, and stops it gracefully."""

import contextlib
import ctypes
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from attach import windows_job

LOG_BYTES, LOG_FILES = 5_000_000, 5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
_STEADY_SECONDS = 300.0  # a process that lived this long resets the backoff
_POLL_SECONDS = 0.25
_READ_SECONDS = 10.0  # for the last lines, in case something else still holds the pipe
# A process group of its own, so that a terminal's Ctrl-C reaches only the supervisor.
_OF_PROCESS: dict[str, Any] = (
    {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    if sys.platform == "win32"
    else {"process_group": 0}
)

if sys.platform == "linux":
    _LIBC, _PR_SET_PDEATHSIG = ctypes.CDLL(None), 1

    def _end_with_parent() -> None:
        """Have Linux ask this new process to stop when its parent ends, even if the parent is killed."""
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    _OF_PROCESS["preexec_fn"] = _end_with_parent


class Supervisor:
    """Runs one command again and again until it is asked to stop.

    Args:
        command: The command line.
        environment: Returns its whole environment; called before each start, since ports and secrets change.
        folder: Where it runs.
        log: The newest log file; older ones have a number appended.
        stop_request: A file that means to stop, once it exists.
        grace_seconds: How long the command may take to stop before it is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Callable[[], Mapping[str, str]],
        folder: Path,
        log: Path,
        stop_request: Path,
        grace_seconds: float,
    ) -> None:
        self._command = list(command)
        self._environment = environment
        self._folder = folder
        self._stop_request = stop_request
        self._grace_seconds = grace_seconds
        self._asked = threading.Event()
        self._log = _logger(log)

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler or another thread."""
        self._asked.set()

    def run(self) -> None:
        """Run the command until someone asks to stop; restart it, after a pause, when it ends by itself."""
        self._stop_request.unlink(missing_ok=True)
        pause = FIRST_PAUSE_SECONDS
        while not self._is_asked():
            started = time.monotonic()
            code = self._run_once()
            if self._is_asked():
                break
            if time.monotonic() - started > _STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._log.warning("the worker ended with code %s; it starts again in %.0f s", code, pause)
            self._wait(lambda: False, pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._stop_request.unlink(missing_ok=True)
        for handler in self._log.handlers:
            handler.close()

    def _is_asked(self) -> bool:
        return self._asked.is_set() or self._stop_request.exists()

    def _wait(self, is_over: Callable[[], bool], seconds: float) -> None:
        """Wait until it is over, someone asks to stop, or time is up."""
        deadline = time.monotonic() + seconds
        while not is_over() and not self._is_asked() and time.monotonic() < deadline:
            self._asked.wait(_POLL_SECONDS)

    def _run_once(self) -> int | str:
        """Run the command to its end, or until someone asks to stop; return its exit code."""
        try:
            process = subprocess.Popen(
                self._command,
                env=dict(self._environment()),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                **_OF_PROCESS,
            )
        except OSError as error:
            return str(error)
        reader = threading.Thread(target=self._keep, args=(process,), daemon=True)
        reader.start()
        with contextlib.ExitStack() as ties:
            if sys.platform == "win32":
                try:
                    ties.enter_context(windows_job.tied(process))
                except OSError as error:
                    self._log.warning("what the worker starts may outlive it: %s", error)
            self._wait(lambda: process.poll() is not None, float("inf"))
            if process.poll() is None:
                self._log.info("stopping the worker")
            _end(process, self._grace_seconds)
        reader.join(_READ_SECONDS)
        return process.returncode

    def _keep(self, process: subprocess.Popen[str]) -> None:
        with process.stdout or io.StringIO() as lines:
            for line in lines:
                self._log.info("%s", line.rstrip())


def stop_on_signals(supervisor: Supervisor) -> None:
    """Stop the supervisor, gracefully, on every signal that means to stop."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # each system has some of them
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        signal.signal(number, lambda _number, _frame: supervisor.stop())


def _end(process: subprocess.Popen[str], grace_seconds: float) -> None:
    """End a process, if it still runs, and what is left of its group (on Windows, its job does that)."""
    if process.poll() is None:
        # Windows has no SIGTERM; there, only a process of the same console can be asked.
        with contextlib.suppress(OSError):
            process.send_signal(signal.CTRL_BREAK_EVENT if sys.platform == "win32" else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _logger(file: Path) -> logging.Logger:
    """Return a logger that writes to rotated files, and to the terminal if there is one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger(f"attach.{file}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handlers: list[logging.Handler] = [
        RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, encoding="utf-8", delay=True)
    ]
    if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison] - a service of Windows has none
        handlers.append(logging.StreamHandler(sys.stdout))
    logger.handlers = handlers
    return logger
