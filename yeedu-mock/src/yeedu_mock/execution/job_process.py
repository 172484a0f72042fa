"""Runs a job's program as a process group whose output can be read while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from typing import TYPE_CHECKING

from yeedu_mock.execution.limits import minimal_environment
from yeedu_mock.state.enums import RunStatus

if TYPE_CHECKING:
    from pathlib import Path

    from yeedu_mock.execution.limits import Limits
    from yeedu_mock.execution.programs import Programs
    from yeedu_mock.state.records import JobDefinition, Run

STOP_GRACE_SECONDS = 2.0


class JobProcess:
    """The process of one job run.

    Args:
        folder: The run's scratch folder; `stdout.log` and `stderr.log` appear in it.
        home: What the program sees as `HOME`.
        limits: What it may use.
        programs: Knows what a job runs.
    """

    def __init__(self, folder: Path, home: Path, limits: Limits, programs: Programs) -> None:
        self._programs = programs
        self._folder = folder
        self._home = home
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False

    async def start(self, definition: JobDefinition, run: Run) -> None:
        """Start the definition's program with the run's arguments.

        Raises:
            ValueError: The mock cannot run it, or the arguments cannot be split as a shell would.
            OSError: The program cannot be started.
        """
        command = self._programs.prepare(definition, self._folder)
        arguments = shlex.split(run.arguments or "")
        environment = minimal_environment(self._home) | {
            "YEEDU_RUN_ID": str(run.id),
            "YEEDU_CONF": json.dumps(run.conf),
        }
        with (
            (self._folder / "stdout.log").open("ab") as stdout,
            (self._folder / "stderr.log").open("ab") as stderr,
        ):
            self._process = await asyncio.create_subprocess_exec(
                *self._limits.command(*command, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        if self._is_stopping:  # asked to stop while it was being started
            self._signal(signal.SIGKILL)

    async def wait(self) -> tuple[RunStatus, int, str | None]:
        """Wait until the program ends, then end everything it started.

        Returns:
            The final status, the exit code, and what went wrong.
        """
        assert self._process is not None  # noqa: S101 - start() comes first
        try:
            async with asyncio.timeout(self._limits.time_seconds):
                code = await self._process.wait()
        except TimeoutError:
            await self._end(grace_seconds=0)
            return (
                RunStatus.TERMINATED,
                -signal.SIGKILL,
                f"Ended after {self._limits.time_seconds:g} seconds, the limit.",
            )
        self._signal(signal.SIGKILL)
        if self._is_stopping:
            return RunStatus.STOPPED, code, None
        if code == 0:
            return RunStatus.DONE, code, None
        return RunStatus.ERROR, code, f"The program ended with exit code {code}."

    async def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Ask the program to end, then kill it; `wait` then returns STOPPED."""
        self._is_stopping = True
        await self._end(grace_seconds)

    async def _end(self, grace_seconds: float) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM if grace_seconds else signal.SIGKILL)
        try:
            async with asyncio.timeout(grace_seconds or None):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole process group, so that what the program started ends with it."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
            return
