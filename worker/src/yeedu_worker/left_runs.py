"""Finds flow runs that ended without their process and left a Yeedu run behind, and has that stopped.

A cancelled flow run stops its remote run itself, and one that crashed and starts again finds it again. When
nothing is left of a cancelled run's process, or nobody starts a crashed one again, somebody has to stop what
goes on for nobody. The operator does so (`prefect_yeedu.flow_run.left_runs`), in a process of its own, since
it reads credentials.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger("prefect.workers.left_runs")  # shown where Prefect's own are

PAUSE_SECONDS = 60.0
_PROGRAM = "prefect_yeedu.flow_run.left_runs"
_AGAIN_SECONDS = 900.0
_OLDEST = timedelta(days=1)
# By then a cancelled flow has stopped its own run, and a crashed one was started again, or never will be.
_AGES = {StateType.CANCELLED: timedelta(minutes=1), StateType.CRASHED: timedelta(hours=1)}


class LeftRuns:
    """Looks after the flow runs of one work pool, or of some of its queues.

    Args:
        work_pool: Its name.
        work_queues: The queues' names; none means every one.
    """

    def __init__(self, work_pool: str, work_queues: Sequence[str] = ()) -> None:
        self._pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool]))
        self._queues = (
            WorkQueueFilter(name=WorkQueueFilterName(any_=list(work_queues))) if work_queues else None
        )
        self._tried: dict[UUID, float] = {}
        self._has_operator = importlib.util.find_spec("prefect_yeedu") is not None

    async def stop(self, client: PrefectClient) -> None:
        """Have every remote run stopped that was left behind.

        Raises:
            httpx.HTTPError: The server does not answer, or refuses.
        """
        if not self._has_operator:
            return
        now = time.monotonic()
        self._tried = {run: at for run, at in self._tried.items() if now - at < _AGAIN_SECONDS}
        for flow_run_id in await self._find(client):
            if flow_run_id not in self._tried:
                self._tried[flow_run_id] = now
                await _have_stopped(flow_run_id)

    async def _find(self, client: PrefectClient) -> list[UUID]:
        """Return the flow runs that have left something behind."""
        now = datetime.now(UTC)
        found: set[UUID] = set()
        for state, age in _AGES.items():
            ended = FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])),
                end_time=FlowRunFilterEndTime.model_validate({"after_": now - _OLDEST, "before_": now - age}),
            )
            runs = await client.read_flow_runs(
                flow_run_filter=ended,
                work_pool_filter=self._pool,
                work_queue_filter=self._queues,
                limit=200,
            )
            if not runs:
                continue
            artifacts = await client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    key=ArtifactFilterKey(like_="yeedu-run-%"),
                    flow_run_id=ArtifactFilterFlowRunId(any_=[run.id for run in runs]),
                )
            )
            for artifact in artifacts:
                fields = artifact.metadata_ or {}
                if artifact.flow_run_id and fields.get("run_id") and not fields.get("outcome"):
                    found.add(artifact.flow_run_id)
        return sorted(found)


async def _have_stopped(flow_run_id: UUID) -> None:
    done = await anyio.run_process([sys.executable, "-m", _PROGRAM, str(flow_run_id)], check=False)
    told = (done.stdout if done.returncode == 0 else done.stderr).decode(errors="replace").strip()
    if told:
        logger.info("flow run %s: %s", flow_run_id, told.splitlines()[-1])
