"""Run a shell command, with its output in the run's log line by line as it appears."""

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

from prefect import flow, task
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

DEFAULT_COMMAND = 'for step in 1 2 3; do echo "step $step of 3"; sleep 0.5; done; uname -a'
LAST_LINES = 10
LONGEST_LINE_CHARACTERS = 65_536
TERMINATION_SECONDS = 5.0  # between SIGTERM and SIGKILL; Prefect itself gives a cancelled run 30
OUTPUT_SECONDS = 3.0  # for what a command leaves in the background to write its last output

# The worker's credentials for the Prefect API; a command that needs it can be given its own key.
WITHHELD_VARIABLES = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "PREFECT_CLIENT_CUSTOM_HEADERS")

RunLogger = logging.Logger | logging.LoggerAdapter[logging.Logger]

_running: set["subprocess.Popen[str]"] = set()


class CommandError(RuntimeError):
    """A command could not be started, took too long, or ended with an exit code other than 0."""


def _run_name() -> str:
    return f"$ {' '.join(str(flow_run.parameters['command']).split())[:60]}"


@flow(name="run-shell-command", flow_run_name=_run_name)
def run_shell_command(
    command: Annotated[str, Field(min_length=1)] = DEFAULT_COMMAND,
    working_directory: str | None = None,
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None,
) -> list[str]:
    """Run a shell command, with its output in the run's log line by line as it appears.

    Standard output and standard error are logged together, in the order in which they were written. The
    command gets no input. It is ended, with its process tree, when the run is cancelled or its time is up.
    What it leaves in the background is ended, too.

    Args:
        command: The command for the worker's shell; several lines are a script.
        working_directory: Where it runs; in the flows' repository if empty.
        timeout_seconds: Its timeout, in seconds; no limit if empty.

    Returns:
        The last lines of its output, at most ten.

    Raises:
        CommandError: It exited with a code other than 0, took too long, or could not be started.
    """
    return run_command(command, working_directory, timeout_seconds)


@task(name="run-command")
def run_command(command: str, working_directory: str | None, timeout_seconds: float | None) -> list[str]:
    """Run one command to its end; see `run_shell_command`."""
    logger = get_run_logger()
    last_lines: deque[str] = deque(maxlen=LAST_LINES)
    process = reader = None
    try:
        with _signals_held_back():
            process = _start(command, working_directory)
            _running.add(process)
            reader = threading.Thread(target=_log_output, args=(process, last_lines, logger), daemon=True)
            reader.start()
        exit_code = process.wait(timeout_seconds)
        reader.join(OUTPUT_SECONDS)
        if reader.is_alive():
            logger.warning("The command left processes in the background; they are ended now.")
    except subprocess.TimeoutExpired:
        sentence = f"The command was ended after {timeout_seconds:g} seconds."
        raise CommandError(_with_lines(sentence, last_lines)) from None
    finally:
        if process is not None:
            _end(process)
            _running.discard(process)
        if reader is not None:
            reader.join(OUTPUT_SECONDS)
    if exit_code != 0:
        raise CommandError(_with_lines(f"The command {_describe(exit_code)}.", last_lines))
    return list(last_lines)


def end_running_commands() -> None:
    """End every command of this process, for flows that run commands in threads, which no signal reaches."""
    for process in tuple(_running):
        _end(process)


@contextlib.contextmanager
def _signals_held_back() -> Generator[None, None, None]:
    """Delay signals: a cancellation in the middle of a start would leave a command that nothing ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


def _start(command: str, working_directory: str | None) -> "subprocess.Popen[str]":
    if working_directory is not None and not Path(working_directory).is_dir():
        raise CommandError(f"The working directory {working_directory!r} is not a folder on this worker.")
    environment = {name: value for name, value in os.environ.items() if name not in WITHHELD_VARIABLES}
    return subprocess.Popen(  # noqa: S602 - a shell command is what this flow is for
        command,
        shell=True,
        cwd=working_directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # one pipe: with two, the order of lines would be unknown
        text=True,
        encoding="utf-8",
        errors="replace",
        bufsize=1,
        # Its own process group, so that everything that the command starts can be ended together.
        process_group=0 if os.name == "posix" else None,
    )


def _log_output(process: "subprocess.Popen[str]", last_lines: deque[str], logger: RunLogger) -> None:
    assert process.stdout is not None  # noqa: S101 - tells the type checker what _start made
    with process.stdout:
        while line := process.stdout.readline(LONGEST_LINE_CHARACTERS):
            # Postgres cannot store NUL characters, and would refuse the whole batch of log lines.
            text = line.rstrip("\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
            last_lines.append(text)
            logger.info("%s", text)


def _end(process: "subprocess.Popen[str]") -> None:
    """End the command's process tree: by request first, and by force if that does not help."""
    try:
        _signal_group(process, is_forced=False)
        process.wait(TERMINATION_SECONDS)
    except subprocess.TimeoutExpired:
        logging.getLogger(__name__).debug("Process %s ignores the request to end.", process.pid)
    finally:
        _signal_group(process, is_forced=True)
        process.wait()


def _signal_group(process: "subprocess.Popen[str]", *, is_forced: bool) -> None:
    if os.name != "posix":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError):  # all of them have ended
        os.killpg(process.pid, signal.SIGKILL if is_forced else signal.SIGTERM)


def _describe(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    return f"was ended by signal {-exit_code} ({signal.Signals(-exit_code).name})"


def _with_lines(sentence: str, last_lines: deque[str]) -> str:
    if not last_lines:
        return f"{sentence} It wrote nothing."
    return "\n".join([f"{sentence} Its last lines:", *last_lines])


if __name__ == "__main__":
    run_shell_command()
