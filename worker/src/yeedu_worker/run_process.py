"""The process of one flow run on this worker, and a way to kill it that is not reported as a crash."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from yeedu_worker.process_tree import kill_tree

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


@dataclass
class RunProcess:
    """One flow run's process, and the task that watches over it.

    Attributes:
        scope: Encloses everything that watches over the process.
        process_id: The process's number; 0 until it has started.
        has_ended: Set once nothing watches over it.
    """

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    process_id: int = 0
    has_ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def identifier(self) -> str:
        """The host's name and the process's number: two containers may have the same numbers."""
        return f"{socket.gethostname()}:{self.process_id}"

    def is_lost(self, flow_run: FlowRun) -> bool:
        """Tell whether another process has the flow run, or will get it: a rescued run has none at first."""
        if self.process_id and flow_run.infrastructure_pid:
            return flow_run.infrastructure_pid != self.identifier
        return bool(self.process_id and flow_run.state and flow_run.state.is_scheduled())

    async def end(self) -> None:
        """Kill the process before it runs any more code, and wait until nothing is left of it.

        A flow that was asked to end would stop its remote run, which its next attempt has to find again.
        Nothing is awaited between the kill and the cancellation, or the end would be reported as a crash.
        """
        if self.process_id:
            kill_tree(self.process_id)
        self.scope.cancel()
        await self.has_ended.wait()


class StartRecorder(TaskStatus[int]):
    """Records the number of a process that has started, and passes its identifier on.

    Args:
        run_process: Where to record the number.
        task_status: Gets the identifier.
    """

    def __init__(self, run_process: RunProcess, task_status: TaskStatus[Any] | None) -> None:
        self._run_process = run_process
        self._task_status = task_status

    def started(self, value: int | None = None) -> None:
        """Record the process's number, and pass its identifier on."""
        self._run_process.process_id = value or 0
        if self._task_status is not None:
            self._task_status.started(self._run_process.identifier if value else 0)
