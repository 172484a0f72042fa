"""Say in the run's log what happens on Yeedu."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run as runtime_flow_run

from prefect_yeedu.models import CellResult, Output, RunKind, RunState
from prefect_yeedu.runs.remote_run import RemoteRun, RunListener
from prefect_yeedu.wire.redaction import storable

if TYPE_CHECKING:
    from prefect_yeedu.client.log_follower import Stream
    from prefect_yeedu.flow_run.run_artifacts import RunArtifacts
    from prefect_yeedu.flow_run.stopping import StopWatch

    Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

MAX_OUTPUT_CHARACTERS = 100_000


def find_logger() -> Logger:
    """Return the logger of the run we are in, else of the process's flow run, else a plain one."""
    try:
        return get_run_logger()
    except MissingContextError:
        identifier = runtime_flow_run.id
    if identifier:
        return flow_run_logger(flow_run_id=UUID(str(identifier)))
    return logging.getLogger("prefect_yeedu")


class RunLogListener(RunListener):
    """Writes to a log: the run's address first, each state once, each line of output once.

    Args:
        logger: Where to.
        watch: Knows when the run is not wanted any more; None for always.
        artifacts: Shows what a notebook shows; None for nothing.
    """

    def __init__(
        self, logger: Logger, watch: StopWatch | None = None, artifacts: RunArtifacts | None = None
    ) -> None:
        self._logger = logger
        self._watch = watch
        self._artifacts = artifacts
        self._total_cells = 0
        self._rest: dict[tuple[int, str], str] = {}

    def on_submitted(self, run: RemoteRun, *, is_new: bool) -> None:
        """Say where the run can be seen."""
        name = f"Yeedu {run.api.kind} run {run.run_id}"
        self._logger.info("%s %s: %s", name, "submitted" if is_new else "found again", run.url)

    def on_state(self, run: RemoteRun, state: RunState) -> None:
        """Say the new state; anything but the expected ones is a warning."""
        is_normal = state in {RunState.SUBMITTED, RunState.RUNNING, RunState.DONE} or (
            run.api.kind is RunKind.NOTEBOOK and state.is_stopped
        )
        level = logging.INFO if is_normal else logging.WARNING
        self._logger.log(level, "Yeedu %s run %d is %s.", run.api.kind, run.run_id, state)

    def on_line(self, stream: Stream, line: str) -> None:
        """Pass on what a job printed; that it stands on stderr makes none of it a warning."""
        self._logger.info("[%s] %s", stream, storable(line))

    def on_cell_started(self, index: int, total: int) -> None:
        """Say which cell is executed."""
        self._total_cells = total
        self._logger.info("Cell %d of %d is executed.", index, total)

    def on_output(self, index: int, output: Output) -> None:
        """Pass on a cell's output, streams line by line."""
        if output.kind == "stream":
            self._pass_on_stream(index, output)
        elif output.kind == "error":
            self._flush(index)
            self._logger.error("[cell %d] %s", index, output.text[:MAX_OUTPUT_CHARACTERS])
        else:
            self._flush(index)
            text = output.text or f"({', '.join(sorted(output.data)) or 'empty'} output)"
            self._logger.info("[cell %d] %s", index, text[:MAX_OUTPUT_CHARACTERS])
            if self._artifacts is not None:
                self._artifacts.show(index, output)

    def on_cell_finished(self, result: CellResult) -> None:
        """Say how the cell ended."""
        self._flush(result.index)
        words = {"ok": "is done", "exit": "has ended the notebook", "error": "has failed"}
        word = words.get(result.status, f"is {result.status}")
        self._logger.info("Cell %d %s after %.1f s.", result.index, word, result.duration_seconds)
        if self._artifacts is not None:
            self._artifacts.show_progress(result.index, self._total_cells)

    def on_trouble(self, text: str) -> None:
        """Warn."""
        self._logger.warning("%s", text)

    def stop_reason(self) -> str | None:
        """Return why the run is not wanted any more, or None while it is."""
        return self._watch.stop_reason() if self._watch is not None else None

    def _pass_on_stream(self, index: int, output: Output) -> None:
        key = (index, output.name)
        *lines, rest = (self._rest.pop(key, "") + output.text).split("\n")
        for line in lines:
            self._log_stream_line(key, line)
        if rest:
            self._rest[key] = rest

    def _flush(self, index: int) -> None:
        for key in [key for key in self._rest if key[0] == index]:
            self._log_stream_line(key, self._rest.pop(key))

    def _log_stream_line(self, key: tuple[int, str], line: str) -> None:
        index, name = key
        mark = "" if name == "stdout" else f" {name}"
        # What overwrites a line in a terminal (a progress bar) leaves only its last state.
        self._logger.info("[cell %d%s] %s", index, mark, line.rstrip("\r").rpartition("\r")[2])
