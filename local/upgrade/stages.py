"""Runs a stage of an upgrade with the code of the release in question, and relays its output."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from local.console import Console
from local.errors import CommandError
from local.settings.platform import CHECKOUT
from local.upgrade.journal import FOLDER

_END_SECONDS = 120.0
# Lines of Compose, which a stage replaces with its own.
_PROGRESS = re.compile(r" *(Container|Network|Volume) \S+ +[A-Z][a-z]+\s*")


class Log:
    """Writes to both the terminal and the log; to a `Console` it looks like a file.

    Args:
        file: The log.
        terminal: The other output.
    """

    def __init__(self, file: Path, terminal: TextIO = sys.stdout) -> None:
        self.file, self._terminal = file, terminal
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        self._stream = file.open("a", encoding="utf-8")

    def write(self, text: str) -> int:
        """Write to both; on a full disk, the terminal still gets everything."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
        return self._terminal.write(text)

    def flush(self) -> None:
        """Flush the terminal."""
        self._terminal.flush()

    def close(self) -> None:
        """Close the log."""
        self._stream.close()


def run_stage(
    folder: Path, arguments: tuple[str, ...], variables: Mapping[str, str], console: Console
) -> None:
    """Run ``python -m local.upgrade`` of a release in its own process group, and wait until it ends.

    It is told to end when this process is interrupted, and sees the end of its input if this one is killed.

    Args:
        folder: The release's files.
        arguments: The stage and its options.
        variables: Environment variables in addition to this process's own.
        console: Where its lines go.

    Raises:
        CommandError: The stage failed; the message is the sentence that it ends with.
    """
    lines: list[str] = []
    inherited = {name: value for name, value in os.environ.items() if name != CHECKOUT}
    with (
        _turn(console) as turn,
        subprocess.Popen(
            [sys.executable, "-m", "local.upgrade", *arguments],
            cwd=folder,
            env={**inherited, **variables, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=(turn,),  # held while it lives, whatever happens to this process
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                if not _PROGRESS.fullmatch(line):
                    lines.append(line.rstrip())
                    console.say(f"    {line.rstrip()}")
            code = process.wait()
        except BaseException:
            _end(process, signal.SIGTERM)
            try:
                process.communicate(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                _end(process, signal.SIGKILL)
            raise
    if code:
        last = next((line for line in reversed(lines) if line.strip()), f"it ended with code {code}")
        raise CommandError(last.strip().removeprefix("stage: "))


def _end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    """Signal a stage and everything that it has started, such as a build that it waits for."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, how)


def end_with_the_starter() -> None:
    """In a stage: end, as on Ctrl-C, once the process that started this one is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGTERM)
        else:  # started by hand
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def await_last_stage(console: Console) -> None:
    """Wait until a stage whose starter was killed has ended, which it does as soon as it notices.

    Raises:
        CommandError: It does not end.
    """
    with _turn(console):
        pass


@contextmanager
def _turn(console: Console) -> Generator[int]:
    """Wait until no stage runs, and take the lock of stages; yield the descriptor that holds it."""
    import fcntl  # not on Windows, where no upgrade gets this far

    FOLDER.mkdir(parents=True, exist_ok=True)
    deadline, told = time.monotonic() + _END_SECONDS, False
    with (FOLDER / "stage.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"a stage of an earlier upgrade has not ended in {_END_SECONDS:.0f} s; "
                        "end `python -m local.upgrade`, then try again"
                    ) from None
            if not told:
                console.step("upgrade      waiting for the end of what an earlier one started")
            told = True
            time.sleep(0.2)
        yield file.fileno()
