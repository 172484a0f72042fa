"""Keeps a deployment's scheduled runs (ticks) while the deployment is changed.

Prefect deletes a deployment's scheduled runs whenever one of its fields or schedules changes, and recreates
them when its scheduler next runs: after 5 seconds, or after 60 if only a schedule changed. A tick in between
would be lost. So the server is told to recreate them at once, under the scheduler's own idempotency keys: a
tick whose run a worker has already taken does not get a second one.

A scheduler that read the deployment just before the change may write its runs just after it, with the old
parameters or times, so they are recreated once more a moment later.
"""

import datetime as dt
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort

from yeedu_deployer.server import all_pages
from yeedu_worker.catch_up import server_time

# Longer than the server's scheduler takes from reading a deployment to writing its runs.
SCHEDULER_TURN_SECONDS = 1.0
# The server reports its time in whole seconds, updated once a second.
CLOCK_STEP = dt.timedelta(seconds=2)


@dataclass(frozen=True)
class Tick:
    """A scheduled run: the schedule that made it, and when it is due."""

    schedule_id: str
    due: dt.datetime


@contextmanager
def kept_ticks(client: SyncPrefectClient, deployment_id: UUID) -> Generator[None]:
    """Recreate the ticks that the `with` block's changes delete, even if the block fails half-way.

    Ticks of a schedule that the block removes or deactivates go with it; a paused deployment gets none.
    """
    before = scheduled_ticks(client, deployment_id)
    begun = server_time(client)
    try:
        yield
    finally:
        _make_again(client, deployment_id, before, begun)


def replace_stale_runs(client: SyncPrefectClient, deployment_ids: Sequence[UUID], changed_at: float) -> None:
    """Recreate the scheduled runs of changed deployments once no scheduler can still write old ones.

    `changed_at` is the time of the last change, on the monotonic clock.
    """
    time.sleep(max(0.0, changed_at + SCHEDULER_TURN_SECONDS - time.monotonic()))
    for deployment_id in deployment_ids:
        with kept_ticks(client, deployment_id):
            # Any update, even one to the same value, deletes the runs that no worker has taken, atomically.
            description = client.read_deployment(deployment_id).description
            client.update_deployment(deployment_id, DeploymentUpdate(description=description))


def _make_again(
    client: SyncPrefectClient, deployment_id: UUID, before: frozenset[Tick], begun: dt.datetime
) -> None:
    deployment = client.read_deployment(deployment_id)
    active = {str(schedule.id) for schedule in deployment.schedules if schedule.active}
    if deployment.paused or not active:
        return
    schedule_runs(client, deployment_id)
    # Ticks that fell due meanwhile, and overdue runs of the remaining schedules, which removing another
    # schedule deletes: no scheduler would recreate either.
    passed = server_time(client) + CLOCK_STEP
    due = {tick for tick in before if tick.due < passed and (tick.due >= begun or tick.schedule_id in active)}
    if due:
        for one in sorted({tick.due for tick in due - scheduled_ticks(client, deployment_id)}):
            schedule_runs(client, deployment_id, one, one)


def scheduled_ticks(client: SyncPrefectClient, deployment_id: UUID) -> frozenset[Tick]:
    """Read a deployment's runs that the scheduler created and no worker has taken yet."""
    read = partial(
        client.read_flow_runs,
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment_id]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": ["SCHEDULED"]}}}),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    return frozenset(
        Tick(str(run.created_by.id), run.expected_start_time)
        for run in all_pages(read)
        if run.auto_scheduled and run.created_by and run.created_by.id and run.expected_start_time
    )


def schedule_runs(
    client: SyncPrefectClient,
    deployment_id: UUID,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
) -> None:
    """Have the server create the runs of a deployment's active schedules, as its scheduler does.

    Covers `start` (default: now by the server's clock) to `end` (default: as far ahead as the scheduler
    goes), whether or not the deployment is paused.
    """
    window = {"start_time": start, "end_time": end}
    body = {name: limit.isoformat() for name, limit in window.items() if limit}
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment_id}, json=body)
