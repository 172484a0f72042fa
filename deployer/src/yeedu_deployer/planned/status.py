"""Compares the deployments on a server with the file, and says of each how it is doing."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from yeedu_deployer.planned.deployments import read_deployments
from yeedu_deployer.planned.diff import FieldChange
from yeedu_deployer.planned.plan import Action, Plan
from yeedu_deployer.server import all_pages, explained

BEGUN = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING", "RUNNING", "PENDING", "PAUSED")


class State(StrEnum):
    """How a deployment on the server relates to the file."""

    IN_STEP = "in step"
    FILE_CHANGED = "file changed"
    EDITED = "edited"
    MISSING = "missing"
    DROPPED = "dropped"
    FOREIGN = "not in the file"
    FAILED = "failed"


MEANINGS = {
    State.IN_STEP: "the server has what the file says",
    State.FILE_CHANGED: "the next apply writes what the file says now",
    State.EDITED: "someone changed it on the server; apply keeps that",
    State.MISSING: "the next apply creates it",
    State.DROPPED: "the next apply deletes it",
    State.FOREIGN: "the deployer did not make it, and leaves it alone",
    State.FAILED: "the file's deployment cannot be applied",
}


@dataclass(frozen=True)
class RunBrief:
    """A flow run in short."""

    id: str
    state: str
    time: dt.datetime


@dataclass(frozen=True)
class DeploymentStatus:
    """One deployment.

    Attributes:
        name: Its name.
        state: How it relates to the file.
        drift: The fields in which server and file differ: `old` is the server's value, `new` the file's.
        work_pool: The pool that it runs on.
        workers: The workers that poll this pool now.
        is_paused: Whether it, or its pool, is paused.
        last_run: The run that began last.
        next_run: When the next scheduled run is due; in the past when it is late.
    """

    name: str
    state: State
    drift: tuple[FieldChange, ...] = ()
    work_pool: str = ""
    workers: tuple[str, ...] = ()
    is_paused: bool = False
    last_run: RunBrief | None = None
    next_run: dt.datetime | None = None


def read_status(client: SyncPrefectClient, plans: Iterable[Plan]) -> list[DeploymentStatus]:
    """Find out about every deployment of the file and of the server, those of the file first.

    Args:
        client: An open client.
        plans: What would be done to the deployments of the file, and to those that it dropped.

    Raises:
        ServerError: The server cannot be read.
    """
    rows: list[DeploymentStatus] = []
    dropped: set[str] = set()
    failed: set[str] = set()
    found = read_deployments(client)
    with explained("The state of the deployments could not be read"):
        pools = _Pools(client)
        for plan in plans:
            here = found.get(plan.key)
            if plan.error:
                rows.append(DeploymentStatus(plan.name, State.FAILED))
                failed.add(plan.name)
            elif plan.desired is None:
                dropped |= {plan.key} if plan.action is Action.REMOVE else set()
            elif here is None:
                rows.append(DeploymentStatus(plan.name, State.MISSING))
            else:
                del found[plan.key]
                state = State.EDITED if plan.drift else State.IN_STEP
                if plan.action is not Action.UNCHANGED:
                    state = State.FILE_CHANGED
                rows.append(_status(client, pools, here, state, plan.drift))
        for key, one in found.items():
            if one.name not in failed:
                state = State.DROPPED if key in dropped else State.FOREIGN
                rows.append(_status(client, pools, one, state, ()))
    return rows


def _status(
    client: SyncPrefectClient,
    pools: "_Pools",
    found: DeploymentResponse,
    state: State,
    drift: tuple[FieldChange, ...],
) -> DeploymentStatus:
    pool = found.work_pool_name or ""
    last = _first_run(client, found, BEGUN, "START_TIME_DESC")
    upcoming = _first_run(client, found, ("SCHEDULED",), "NEXT_SCHEDULED_START_TIME_ASC")
    return DeploymentStatus(
        name=found.name,
        state=state,
        drift=drift,
        work_pool=pool,
        workers=pools.workers(pool),
        is_paused=found.paused or pools.is_paused(pool),
        last_run=last,
        next_run=upcoming.time if upcoming else None,
    )


def _first_run(
    client: SyncPrefectClient, found: DeploymentResponse, states: tuple[str, ...], sort: str
) -> RunBrief | None:
    query = {
        "flow_runs": {
            "deployment_id": {"any_": [str(found.id)]},
            "state": {"type": {"any_": list(states)}},
        },
        "sort": sort,
        "limit": 1,
    }
    for run in client.request("POST", "/flow_runs/filter", json=query).json():
        time = run.get("start_time") or run["expected_start_time"]
        return RunBrief(run["id"], run["state_name"], dt.datetime.fromisoformat(time))
    return None


class _Pools:
    """The work pools of one server, each asked about once."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._paused = {pool.name: pool.is_paused for pool in all_pages(client.read_work_pools)}
        self._workers: dict[str, tuple[str, ...]] = {}

    def is_paused(self, pool: str) -> bool:
        return self._paused.get(pool, False)

    def workers(self, pool: str) -> tuple[str, ...]:
        if pool not in self._paused:
            return ()
        if pool not in self._workers:
            found = all_pages(partial(self._page, pool))
            online = sorted(worker["name"] for worker in found if worker["status"] == "ONLINE")
            self._workers[pool] = tuple(online)
        return self._workers[pool]

    def _page(self, pool: str, *, limit: int, offset: int) -> list[dict[str, Any]]:
        path = cast("Any", f"/work_pools/{pool}/workers/filter")
        return self._client.request("POST", path, json={"limit": limit, "offset": offset}).json()
