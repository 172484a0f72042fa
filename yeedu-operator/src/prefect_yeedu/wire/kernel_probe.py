"""Asks an IPython kernel how its last execution ended: the code that the kernel runs, and its reply."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect_yeedu.wire.kernel_protocol import Execution


def _report_last_execution() -> None:
    """Print the kernel's counter and how the last counted execution ended, as JSON.

    The kernel executes this, silently, so that it is not counted itself. It notes its finding there, because
    IPython forgets it as soon as anything else is executed.
    """
    import builtins
    import json

    from IPython import get_ipython

    shell = get_ipython()
    ends = shell.__dict__.setdefault("_yeedu_ends", {})
    if shell.execution_count not in ends:
        finding = [shell.execution_count, shell.last_execution_succeeded]
        if not shell.last_execution_succeeded:
            end = shell.last_execution_result
            error = end and (end.error_in_exec or end.error_before_exec)
            finding += [type(error).__name__, str(error)]
        ends[shell.execution_count] = finding
    builtins.print(json.dumps(ends[shell.execution_count]))


_NAME = _report_last_execution.__name__
PROBE = f"{inspect.getsource(_report_last_execution)}\n{_NAME}()\ndel {_NAME}"


@dataclass(frozen=True)
class Finding:
    """What the kernel reports about its past executions.

    Attributes:
        executed: How many cells it has executed since it started.
        is_ok: Whether the last of them succeeded.
        ename: The exception's class, if it failed.
        evalue: The exception's text, if it failed.
    """

    executed: int
    is_ok: bool
    ename: str = ""
    evalue: str = ""

    @classmethod
    def parse(cls, text: str) -> Finding | None:
        """Return the finding that the probe printed, or None if the text is something else."""
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError):
            return None
        match value:
            case [int(count), True]:
                return cls(count - 1, is_ok=True)
            case [int(count), False, str(ename), str(evalue)]:
                return cls(count - 1, is_ok=False, ename=ename, evalue=evalue)
            case _:
                return None

    def fill(self, execution: Execution) -> None:
        """Complete an execution whose reply was lost."""
        execution.status = "ok" if self.is_ok else "error"
        execution.ename, execution.evalue = self.ename, self.evalue
        execution.is_idle = True
