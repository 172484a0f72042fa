"""The words this package speaks in: kinds, generations, states and results."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RunKind(StrEnum):
    """What a run executes."""

    JOB = "job"
    NOTEBOOK = "notebook"


class Generation(StrEnum):
    """Which of Yeedu's API generations a server speaks.

    In V1 a definition is a "conf" and `job_id` names an execution; in V2 `job_id` names a definition and
    an execution is a "run". V1B has V1's routes and keeps notebooks in files.
    """

    V1 = "v1"
    V1B = "v1b"
    V2 = "v2"


class RunState(StrEnum):
    """A remote run's state.

    Attributes:
        UNKNOWN: Yeedu's word is one that this version does not know; the run may go on.
        ENDED: The same, of a run that shows that it is over.
    """

    SUBMITTED = "SUBMITTED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    ERROR = "ERROR"
    TERMINATED = "TERMINATED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    KILLED = "KILLED"
    UNKNOWN = "UNKNOWN"
    ENDED = "ENDED"

    @classmethod
    def _missing_(cls, value: object) -> RunState:
        return cls.__members__.get(str(value).upper(), cls.UNKNOWN)

    @property
    def is_terminal(self) -> bool:
        """Whether the run will never change again."""
        return self in _TERMINAL

    @property
    def is_success(self) -> bool:
        """Whether the run did by itself what it was to do."""
        return self is RunState.DONE

    @property
    def is_stopped(self) -> bool:
        """Whether somebody ended the run, or is about to."""
        return self in {RunState.STOPPING, RunState.STOPPED, RunState.KILLED}


_TERMINAL = frozenset(RunState) - {
    RunState.SUBMITTED,
    RunState.RUNNING,
    RunState.STOPPING,
    RunState.UNKNOWN,
}


@dataclass(frozen=True)
class Output:
    """One output of a notebook's cell.

    Attributes:
        kind: `stream`, `display_data`, `execute_result` or `error`.
        name: `stdout` or `stderr` of a stream, the exception's class of an error, else empty.
        data: The output by MIME type; images are base64 as the kernel sent them.
        display_id: What later updates of this output refer to, where the kernel named it.
    """

    kind: str
    name: str = ""
    data: dict[str, str] = field(default_factory=dict[str, str])
    display_id: str | None = None

    @property
    def text(self) -> str:
        """The output as plain text, empty where it has none."""
        return self.data.get("text/plain", "")


@dataclass(frozen=True)
class CellResult:
    """What became of one cell.

    Attributes:
        index: Position in the notebook, counted from 1.
        status: `ok`, `error`, `skipped` (text cells, and cells after a failure) or `exit`.
        outputs: In the order the kernel sent them.
        duration_seconds: From sending the cell to its end.
        execution_count: The kernel's number of the execution.
    """

    index: int
    status: str
    outputs: tuple[Output, ...] = ()
    duration_seconds: float = 0.0
    execution_count: int | None = None


@dataclass(frozen=True)
class YeeduResult:
    """What a finished remote run, or a health check, came to.

    Attributes:
        kind: `job`, `notebook` or `health`.
        run_id: Yeedu's id of the run; None for a health check.
        state: The final state; `STOPPED` is a finished notebook's normal one, because its client stops it.
        url: The run's page in Yeedu's user interface, or the health check's address.
        stdout: What the job printed.
        stderr: What the job printed to its error stream.
        cells: What became of each of the notebook's cells.
        exit_value: What the notebook passed to `dbutils.notebook.exit`.
        details: The health check's own answer.
        truncated: Which of `stdout` and `stderr` are not whole; a sentence in the text says what is missing.
    """

    kind: str
    run_id: int | None
    state: str
    url: str
    stdout: str = ""
    stderr: str = ""
    cells: tuple[CellResult, ...] = ()
    exit_value: str | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    truncated: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All outputs of all cells, in order."""
        return tuple(output for cell in self.cells for output in cell.outputs)
