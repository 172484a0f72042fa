"""Writes what happens on Yeedu to the flow run's log."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as runtime_flow_run

from prefect_yeedu.models import CellResult, Output, RunKind, RunState
from prefect_yeedu.runs.log_follower import MAX_LINE_CHARACTERS, last_state
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.wait_options import WaitOptions
from prefect_yeedu.wire.redaction import storable

if TYPE_CHECKING:
    from prefect_yeedu.flow_run.deferral import Deferral
    from prefect_yeedu.flow_run.run_artifacts import RunArtifacts
    from prefect_yeedu.flow_run.run_events import RunEvents
    from prefect_yeedu.flow_run.stopping import StopWatch
    from prefect_yeedu.runs.log_follower import Stream
    from prefect_yeedu.runs.remote_run import RemoteRun

    Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

MAX_OUTPUT_CHARACTERS = 100_000
# How often the present state of a line that is overwritten, such as a progress bar, is shown.
PROGRESS_SECONDS = 10.0
# A cell that takes longer is reported, once, as still running.
LONG_CELL_SECONDS = 60.0


def find_logger() -> Logger:
    """Return the logger of the current run, else of the process's flow run, else a plain one."""
    try:
        return get_run_logger()
    except MissingContextError:
        identifier = runtime_flow_run.id
    if identifier:
        return flow_run_logger(flow_run_id=UUID(str(identifier)))
    return logging.getLogger("prefect_yeedu")


@dataclass
class _Unfinished:
    """The last line of a stream, while no line break has ended it.

    Attributes:
        text: What a terminal would show of it.
        shown: What was last shown of it.
        shown_at: When that was.
    """

    text: str = ""
    shown: str = ""
    shown_at: float = 0.0


class RunLogListener(RunListener):
    """Writes to a log: the run's address first, each state once, each line of output once.

    Args:
        logger: Where to write.
        watch: Knows when the run is not wanted any more; None if it always is wanted.
        artifacts: Creates artifacts of a notebook's outputs; None for no artifacts.
        events: Emits the run's events to Prefect; None for no events.
        deferral: Suspends the flow run while the run goes on; None to wait instead.
    """

    def __init__(
        self,
        logger: Logger,
        watch: StopWatch | None = None,
        artifacts: RunArtifacts | None = None,
        events: RunEvents | None = None,
        deferral: Deferral | None = None,
    ) -> None:
        self._logger = logger
        self._watch = watch
        self._artifacts = artifacts
        self._events = events
        self._deferral = deferral
        self._total_cells = 0
        self._cell = 0
        self._cell_started_at = 0.0
        self._unfinished: dict[tuple[int, str], _Unfinished] = {}
        self._lines_left = WaitOptions().max_log_lines
        self._url = ""

    def on_submitted(self, run: RemoteRun, *, is_new: bool) -> None:
        """Log where the run can be seen."""
        self._lines_left, self._url = run.options.max_log_lines, run.url
        name = f"Yeedu {run.api.kind} run {run.run_id}"
        self._logger.info("%s %s: %s", name, "submitted" if is_new else "found again", run.url)
        if self._artifacts is not None:
            self._artifacts.run_url = run.url
        if self._events is not None:
            self._events.submitted(run.run_id, run.url, is_new=is_new)

    def on_state(self, run: RemoteRun, state: RunState) -> None:
        """Log the new state, as a warning if it is not an expected one."""
        if state is RunState.STOPPING and run.has_asked_to_stop:
            return  # STOPPED will follow
        is_normal = state in {RunState.SUBMITTED, RunState.RUNNING, RunState.DONE} or (
            state.is_stopped and (run.api.kind is RunKind.NOTEBOOK or run.has_asked_to_stop)
        )
        level = logging.INFO if is_normal else logging.WARNING
        strange = "" if state in _KNOWN else " (a state that this version does not know)"
        self._logger.log(level, "Yeedu %s run %d is %s%s.", run.api.kind, run.run_id, run.state_text, strange)

    def on_line(self, stream: Stream, line: str) -> None:
        """Log what a job printed; a line on stderr is not a warning."""
        self._print(f"[{stream}] {storable(last_state(line))}")

    def on_cell_started(self, index: int, total: int) -> None:
        """Remember which cell runs since when, to log it only if it takes long."""
        self._total_cells, self._cell, self._cell_started_at = total, index, time.monotonic()

    def on_output(self, index: int, output: Output) -> None:
        """Log a cell's output, streams line by line."""
        if output.kind == "stream":
            self._take_stream(index, output)
            return
        self._flush(index)
        if output.kind == "error":
            self._logger.error("[cell %d] %s", index, _shortened(output.text))
            return
        text = output.text or f"({', '.join(sorted(output.data)) or 'empty'} output)"
        self._print(f"[cell {index}] {_shortened(text)}")
        if self._artifacts is not None:
            self._artifacts.show(index, output)

    def on_cell_finished(self, result: CellResult) -> None:
        """Log how the cell ended."""
        self._flush(result.index)
        self._cell = 0
        words = {"ok": "is done", "exit": "has ended the notebook", "error": "has failed"}
        word = words.get(result.status, f"is {result.status}")
        of = f" of {self._total_cells}" if self._total_cells else ""
        self._logger.info("Cell %d%s %s after %.1f s.", result.index, of, word, result.duration_seconds)
        if self._artifacts is not None:
            self._artifacts.show_progress(result.index, self._total_cells)

    def on_trouble(self, text: str) -> None:
        """Log a warning."""
        self._logger.warning("%s", text)

    def on_wait(self) -> None:
        """Log that a cell takes long, once, and the state of its progress bars."""
        now = time.monotonic()
        if self._cell and now - self._cell_started_at > LONG_CELL_SECONDS:
            seconds = now - self._cell_started_at
            self._logger.info(
                "Cell %d of %d is still running after %.0f s.", self._cell, self._total_cells, seconds
            )
            self._cell = 0
        for key, line in self._unfinished.items():
            if line.text != line.shown and now - line.shown_at >= PROGRESS_SECONDS:
                line.shown, line.shown_at = line.text, now
                self._print_stream_line(key, line.text)

    def leave(self, run: RemoteRun, seconds_left: float | None) -> BaseException | None:
        """Return the exception to leave the wait with; None to stay."""
        return self._deferral.leave(run, seconds_left) if self._deferral is not None else None

    def stop_reason(self) -> str | None:
        """Return why the run is not wanted any more, or None while it is wanted."""
        return self._watch.stop_reason() if self._watch is not None else None

    def is_awaited_again(self, error: BaseException) -> bool:
        """Return whether the flow run will be started again, and then waits for the run."""
        return self._watch is not None and self._watch.is_due_again(error)

    def _take_stream(self, index: int, output: Output) -> None:
        key = (index, output.name)
        line = self._unfinished.setdefault(key, _Unfinished(shown_at=time.monotonic()))
        *whole, rest = (line.text + output.text).split("\n")
        for text in whole:
            self._print_stream_line(key, last_state(text))
        # Only the text that overwrote the line last is kept, as a terminal would show it.
        body = rest.rstrip("\r")
        line.text = last_state(body) + rest[len(body) :]
        if len(line.text) > MAX_LINE_CHARACTERS:
            self._print_stream_line(key, line.text)
            line.text = ""
        self.on_wait()

    def _flush(self, index: int) -> None:
        for key in [key for key in self._unfinished if key[0] == index]:
            line = self._unfinished.pop(key)
            if line.text and line.text != line.shown:
                self._print_stream_line(key, line.text)

    def _print_stream_line(self, key: tuple[int, str], line: str) -> None:
        index, name = key
        mark = "" if name == "stdout" else f" {name}"
        self._print(f"[cell {index}{mark}] {last_state(line)}")

    def _print(self, line: str) -> None:
        """Log a line, up to `max_log_lines` of them."""
        if self._lines_left > 0:
            self._logger.info("%s", line)
        elif self._lines_left == 0:
            self._logger.warning(
                "No more of what the run prints is passed on here; the rest is in its result and at %s.",
                self._url,
            )
        self._lines_left -= 1


_KNOWN = frozenset(RunState) - {RunState.UNKNOWN, RunState.ENDED}


def _shortened(text: str) -> str:
    if len(text) <= MAX_OUTPUT_CHARACTERS:
        return text
    return f"{text[:MAX_OUTPUT_CHARACTERS]}\n[{len(text) - MAX_OUTPUT_CHARACTERS:,} more characters]"
