"""The package's data types: kinds, generations, states and results."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
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
        ENDED: The same, but the run shows that it is over.
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
        """Whether the state is final."""
        return self in _TERMINAL

    @property
    def is_success(self) -> bool:
        """Whether the run finished its work by itself."""
        return self is RunState.DONE

    @property
    def is_stopped(self) -> bool:
        """Whether the run was stopped from outside, or is about to be."""
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
        name: `stdout` or `stderr` for a stream, the exception's class for an error, else empty.
        data: The output by MIME type; images are base64 as the kernel sent them, JSON types are JSON text.
        metadata: What the kernel says about the data, such as an image's width.
        evalue: The exception's text, for an error.
        execution_count: The kernel's execution count, for an `execute_result`.
    """

    kind: str
    name: str = ""
    data: dict[str, str] = field(default_factory=dict[str, str])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    evalue: str = ""
    execution_count: int | None = None

    @property
    def text(self) -> str:
        """The output as plain text; empty if it has none."""
        return self.data.get("text/plain", "")

    def to_nbformat(self) -> dict[str, Any]:
        """Return the output in the form of nbformat 4."""
        match self.kind:
            case "stream":
                return {"output_type": "stream", "name": self.name, "text": self.text}
            case "error":
                traceback = self.text.split("\n")
                fields = {"ename": self.name, "evalue": self.evalue, "traceback": traceback}
                return {"output_type": "error", **fields}
            case _:
                data = {mime: _as_json(mime, text) for mime, text in self.data.items()}
                shown = {"output_type": self.kind, "data": data, "metadata": self.metadata}
                counts = self.kind == "execute_result"
                return {**shown, "execution_count": self.execution_count} if counts else shown


def _as_json(mime: str, text: str) -> object:
    """Return a MIME type's data in the form of nbformat: objects for JSON types, else the text."""
    if mime != "application/json" and not mime.endswith("+json"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True)
class CellResult:
    """The result of one cell.

    Attributes:
        index: Position in the notebook, counted from 1; an injected cell with parameters counts too.
        status: `ok`, `error`, `skipped` (text cells, cells tagged `skip-execution`, and those after an exit)
            or `exit`. A result has `error` only where errors are allowed.
        outputs: The outputs, in the order in which the kernel sent them.
        duration_seconds: Time from sending the cell to its end.
        execution_count: The kernel's execution count.
        source: The cell's text in the notebook.
        cell_type: `code`, `markdown` or `raw`.
        tags: The cell's tags, such as `injected-parameters`.
    """

    index: int
    status: str
    outputs: tuple[Output, ...] = ()
    duration_seconds: float = 0.0
    execution_count: int | None = None
    source: str = ""
    cell_type: str = "code"
    tags: tuple[str, ...] = ()

    def to_nbformat(self) -> dict[str, Any]:
        """Return the cell in the form of nbformat 4."""
        metadata: dict[str, Any] = {"tags": list(self.tags)} if self.tags else {}
        cell: dict[str, Any] = {"cell_type": self.cell_type, "metadata": metadata, "source": self.source}
        if self.cell_type == "code":
            cell["execution_count"] = self.execution_count
            cell["outputs"] = [output.to_nbformat() for output in self.outputs]
        return cell


@dataclass(frozen=True)
class YeeduResult:
    """The result of a finished remote run, or of a health check.

    Attributes:
        kind: `job`, `notebook` or `health`.
        run_id: Yeedu's id of the run; None for a health check.
        state: The final state; for a finished notebook normally `STOPPED`, because its client stops it.
        url: The run's page in Yeedu's user interface, or the health check's address.
        stdout: What the job printed.
        stderr: What the job printed to its error stream.
        cells: The results of the notebook's cells.
        exit_value: What the notebook passed to `dbutils.notebook.exit`.
        language: The notebook's language as Yeedu names it, such as `Python3`; empty if it is not known.
        details: The health check's own answer.
        truncated: Which of `stdout` and `stderr` are incomplete; a sentence in the text says what is missing.
    """

    kind: str
    run_id: int | None
    state: str
    url: str
    stdout: str = ""
    stderr: str = ""
    cells: tuple[CellResult, ...] = ()
    exit_value: str | None = None
    language: str = ""
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    truncated: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All outputs of all cells, in order."""
        return tuple(output for cell in self.cells for output in cell.outputs)

    def to_ipynb(self) -> dict[str, Any]:
        """Return the executed notebook as the content of an `.ipynb` file (nbformat 4.4)."""
        language = self.language.casefold()
        metadata: dict[str, Any] = {"language_info": {"name": language.rstrip("3")}} if language else {}
        if language.startswith("python"):
            metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = [cell.to_nbformat() for cell in self.cells]
        return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}

    def write_ipynb(self, path: str | Path) -> Path:
        """Write the executed notebook to an `.ipynb` file, for Jupyter and other tools that read such files.

        Returns:
            The file's path.
        """
        path = Path(path)
        path.write_text(json.dumps(self.to_ipynb(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path
