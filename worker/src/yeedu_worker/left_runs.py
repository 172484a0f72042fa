"""Finds orphans on Yeedu, remote runs that an ended flow run left running, and has them stopped.

A cancelled flow run stops its remote run itself, and a crashed one that is restarted finds it again. But a
cancelled run's process may be gone, and a crashed or failed run may never be restarted: its remote run then
has to be stopped from outside. The operator does so (`prefect_yeedu.flow_run.left_runs`), in a process of its
own, since it reads credentials.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from yeedu_worker.catch_up import SKIPPED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Artifact

logger = logging.getLogger("prefect.workers.left_runs")  # shown where Prefect's own are

T = TypeVar("T")
PAUSE_SECONDS = 60.0
_PROGRAM = "prefect_yeedu.flow_run.left_runs"
_AGAIN_SECONDS = 900.0
_OLDEST = timedelta(days=1)
# By then a cancelled flow has stopped its remote run, and a crashed one was restarted or never will be. A
# failed one leaves a remote run behind if it lost Yeedu.
_AGES = {
    StateType.CANCELLED: timedelta(minutes=1),
    StateType.CRASHED: timedelta(hours=1),
    StateType.FAILED: timedelta(hours=1),
}
_PAGE = 200  # the server's maximum


class LeftRuns:
    """Stops the orphans of the flow runs of one work pool, or of some of its queues.

    Args:
        work_pool: Its name.
        work_queues: The queues' names; none means every queue.
    """

    def __init__(self, work_pool: str, work_queues: Sequence[str] = ()) -> None:
        self._pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool]))
        self._queues = (
            WorkQueueFilter(name=WorkQueueFilterName(any_=list(work_queues))) if work_queues else None
        )
        self._tried: dict[UUID, float] = {}
        self._has_operator = importlib.util.find_spec("prefect_yeedu") is not None

    async def stop(self, client: PrefectClient) -> None:
        """Have every orphan stopped; try each flow run at most once in `_AGAIN_SECONDS`.

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
        """Return the flow runs that have left a remote run behind."""
        now = datetime.now(UTC)
        found: set[UUID] = set()
        for state, age in _AGES.items():
            ended = FlowRunFilter(
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(any_=[state]),
                    name=FlowRunFilterStateName(not_any_=[SKIPPED]),
                ),
                end_time=FlowRunFilterEndTime.model_validate({"after_": now - _OLDEST, "before_": now - age}),
            )
            read = partial(
                client.read_flow_runs,
                flow_run_filter=ended,
                work_pool_filter=self._pool,
                work_queue_filter=self._queues,
                sort=FlowRunSort.END_TIME_DESC,
            )
            async for runs in _pages(read):
                owners = await _with_subflows(client, [run.id for run in runs])
                async for artifact in _records(client, list(owners)):
                    if artifact.flow_run_id and _is_left(artifact.metadata_ or {}):
                        found.add(owners[artifact.flow_run_id])
        return sorted(found)


async def _pages(read: Callable[..., Awaitable[list[T]]]) -> AsyncIterator[list[T]]:
    """Yield everything, one page after the other."""
    offset = 0
    while page := await read(limit=_PAGE, offset=offset):
        yield page
        offset += _PAGE
        if len(page) < _PAGE:
            return


async def _with_subflows(client: PrefectClient, flow_runs: list[UUID]) -> dict[UUID, UUID]:
    """Return flow runs and their subflows, each with the flow run it is a part of.

    A subflow that is a run of a deployment has a process of its own, and is found by itself.
    """
    owners = {flow_run: flow_run for flow_run in flow_runs}
    parents = list(owners)
    while parents:
        wanted = FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=parents),
            deployment_id=FlowRunFilterDeploymentId(is_null_=True),
        )
        found: list[UUID] = []
        async for subflows in _pages(partial(client.read_flow_runs, flow_run_filter=wanted)):
            for subflow in subflows:
                if subflow.parent_task_run_id is None or subflow.id in owners:
                    continue
                parent = (await client.read_task_run(subflow.parent_task_run_id)).flow_run_id
                if parent is not None and parent in owners:
                    owners[subflow.id] = owners[parent]
                    found.append(subflow.id)
        parents = found
    return owners


async def _records(client: PrefectClient, flow_runs: list[UUID]) -> AsyncIterator[Artifact]:
    """Yield the artifacts of flow runs that may be the records of remote runs."""
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(like_="yeedu-%"),
        type=ArtifactFilterType(any_=["markdown"]),
        flow_run_id=ArtifactFilterFlowRunId(any_=flow_runs),
    )
    if flow_runs:
        async for page in _pages(partial(client.read_artifacts, artifact_filter=wanted)):
            for artifact in page:
                yield artifact


def _is_left(fields: Mapping[str, str]) -> bool:
    """Tell whether fields are the open record of a remote run, or of the intent to start one."""
    is_open = fields.get("phase", "ended") != "ended"
    return is_open and bool(fields.get("run_id") or fields.get("intended_at"))


async def _have_stopped(flow_run_id: UUID) -> None:
    done = await anyio.run_process([sys.executable, "-m", _PROGRAM, str(flow_run_id)], check=False)
    told = (done.stdout if done.returncode == 0 else done.stderr).decode(errors="replace").strip()
    if told:
        logger.info("flow run %s: %s", flow_run_id, told.splitlines()[-1])
