"""Runs git, and kills it when it makes no progress."""

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

SILENCE_SECONDS = 60.0
SAY_EVERY_SECONDS = 5.0
_GRACE_SECONDS = 5.0

Say = Callable[[str], None]


class SilentError(Exception):
    """Git was silent for too long, and was ended."""


def run_git(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    say: Say | None = None,
    silence_seconds: float = SILENCE_SECONDS,
) -> tuple[int, str, str]:
    """Run git until it ends, however long that takes, as long as it keeps printing.

    Args:
        arguments: What comes after `git`. Give commands that may take long `--progress`.
        environment: Its whole environment.
        folder: Where it runs; this process's working directory by default.
        say: Gets what git says about its progress, every few seconds.
        silence_seconds: After how long without output it is ended.

    Returns:
        Its exit code, its standard output and its standard error.

    Raises:
        FileNotFoundError: Git is not installed.
        SilentError: It was silent for too long.
    """
    process = subprocess.Popen(
        ["git", *arguments],
        cwd=folder,
        env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    heard: queue.Queue[tuple[int, bytes]] = queue.Queue()
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe]
    for number, pipe in enumerate(pipes):
        threading.Thread(target=_listen, args=(number, pipe, heard), daemon=True).start()
    said = [bytearray() for _ in pipes]
    left, last_told = len(pipes), time.monotonic()
    try:
        while left:
            number, part = heard.get(timeout=silence_seconds)
            said[number] += part
            left -= not part
            if say and number and time.monotonic() - last_told >= SAY_EVERY_SECONDS:
                last_told = time.monotonic()
                say(_last_line(said[number]))
        code = process.wait(silence_seconds)
    except (queue.Empty, subprocess.TimeoutExpired):
        raise SilentError from None
    finally:
        _end(process)
    output, errors = (one.decode("utf-8", "replace") for one in said)
    return code, output, errors


def _listen(number: int, pipe: IO[bytes], heard: "queue.Queue[tuple[int, bytes]]") -> None:
    """Pass on what comes through a pipe; an empty part marks the end."""
    with pipe:
        while part := os.read(pipe.fileno(), 65536):
            heard.put((number, part))
    heard.put((number, b""))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Make sure that git has ended; on SIGTERM, it also ends what it has started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(said: bytearray) -> str:
    lines = bytes(said[-2000:]).decode("utf-8", "replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines[:-1]) if line.strip()), "")
