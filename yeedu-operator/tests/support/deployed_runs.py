"""Flow runs of a deployment, run here as often as the server has them due: as a worker would do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogWorker

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class DeployedRun:
    """One flow run of a deployment of a flow.

    Attributes:
        flow: What it runs.
        id: The flow run.
    """

    flow: Flow[..., Any]
    id: UUID

    @classmethod
    def of(cls, function: Callable[[], Any], **options: Any) -> DeployedRun:
        """Make a deployment of a function as a flow, and a run of it that is due."""
        made = Flow(function, name=f"deployed-{uuid4().hex[:8]}", **options)
        with get_client(sync_client=True) as client:
            deployment = client.create_deployment(client.create_flow(made), name="default")
            return cls(made, client.create_flow_run_from_deployment(deployment).id)

    def attempt(self) -> str:
        """Run it once; return the name of the state that it is in then."""
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(self.id)
        try:
            result = run_flow(self.flow, flow_run=flow_run, return_type="state")
            if asyncio.iscoroutine(result):
                asyncio.run(result)
        except Pause:
            pass
        return self.state

    @property
    def flow_run(self) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.id)

    @property
    def state(self) -> str:
        """The name of its state."""
        return str(self.flow_run.state_name)

    @property
    def is_suspended(self) -> bool:
        return self.flow_run.state_type is StateType.PAUSED

    def resume(self) -> None:
        """Resume it by hand."""
        with get_client(sync_client=True) as client:
            client.resume_flow_run(self.id)

    def records(self) -> list[dict[str, str]]:
        """Return the fields of its records, the oldest first."""
        wanted = ArtifactFilter(
            key=ArtifactFilterKey(like_="yeedu-%"), flow_run_id=ArtifactFilterFlowRunId(any_=[self.id])
        )
        with get_client(sync_client=True) as client:
            found = client.read_artifacts(artifact_filter=wanted)
        return [dict(one.metadata_ or {}) for one in sorted(found, key=lambda one: str(one.created))]

    def log(self) -> list[str]:
        """Return the lines of its log."""
        APILogWorker.instance().drain()
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.id]))
        with get_client(sync_client=True) as client:
            return [entry.message for entry in client.read_logs(wanted, limit=200)]


def await_true(what: str, look: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"not {what} within {seconds} s"
        time.sleep(0.05)
