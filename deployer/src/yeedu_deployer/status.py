"""`deployer status`: compares the server's deployments with the file, and shows the state of each."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse

from yeedu_deployer.planned.deployments import read_deployments
from yeedu_deployer.planned.plan import FieldChange, Outcome, Plan
from yeedu_deployer.report import Printed, Report, brief
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


# What each state means, if it needs explaining, and how it looks.
STATES = {
    State.IN_STEP: ("", "green"),
    State.FILE_CHANGED: ("the next apply writes what the file says now", "yellow"),
    State.EDITED: ("someone changed it on the server; apply keeps that", "yellow"),
    State.MISSING: ("the next apply creates it", "red"),
    State.DROPPED: ("the next apply deletes it", "red"),
    State.FOREIGN: ("", "dim"),
    State.FAILED: ("the file's deployment cannot be applied", "bold red"),
}
COLUMNS = ("deployment", "state", "last run", "next run", "workers")


@dataclass(frozen=True)
class RunBrief:
    """A flow run in short."""

    id: str
    state: str
    time: dt.datetime


@dataclass(frozen=True)
class DeploymentStatus:
    """One deployment: how it relates to the file, which workers poll its pool, and its runs.

    It also counts as paused if its pool is. `next_run` is in the past when it is late. In `drift`, `old` is
    the server's value, `new` the file's.
    """

    name: str
    state: State
    work_pool: str = ""
    workers: tuple[str, ...] = ()
    paused: bool = False
    last_run: RunBrief | None = None
    next_run: dt.datetime | None = None
    drift: tuple[FieldChange, ...] = ()


def read_status(client: SyncPrefectClient, plans: Iterable[Plan]) -> list[DeploymentStatus]:
    """Return the status of every deployment of the file and of the server, those of the file first.

    `plans` are those for the deployments of the file, and for those that it dropped.
    """
    rows: list[DeploymentStatus] = []
    dropped: set[str] = set()
    found = read_deployments(client)
    with explained("The state of the deployments could not be read"):
        reader = _Reader(client)
        for plan in plans:
            if plan.error:
                rows.append(DeploymentStatus(plan.name, State.FAILED))
            elif plan.desired is None:
                dropped |= {plan.key} if plan.action is Outcome.TO_PRUNE else set()
            elif plan.key not in found:
                rows.append(DeploymentStatus(plan.name, State.MISSING))
            else:
                state = State.EDITED if plan.drift else State.IN_STEP
                if plan.action is not Outcome.UNCHANGED:
                    state = State.FILE_CHANGED
                rows.append(replace(reader.read(found.pop(plan.key), state), drift=plan.drift))
        failed = {row.name for row in rows if row.state is State.FAILED}
        for key, one in found.items():
            if one.name not in failed:
                rows.append(reader.read(one, State.DROPPED if key in dropped else State.FOREIGN))
    return rows


def is_in_step(rows: Sequence[DeploymentStatus]) -> bool:
    """Tell whether the server has exactly what the file says, apart from what the file never named."""
    different = (State.FILE_CHANGED, State.EDITED, State.MISSING, State.DROPPED)
    return not any(row.state in different for row in rows)


class _Reader:
    """Reads the status of deployments; asks about each work pool once."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._paused = {pool.name: pool.is_paused for pool in all_pages(client.read_work_pools)}
        self._workers: dict[str, tuple[str, ...]] = {}

    def read(self, found: DeploymentResponse, state: State) -> DeploymentStatus:
        pool = found.work_pool_name or ""
        upcoming = self._first_run(found, ("SCHEDULED",), "NEXT_SCHEDULED_START_TIME_ASC")
        return DeploymentStatus(
            name=found.name,
            state=state,
            work_pool=pool,
            workers=self._online(pool),
            paused=found.paused or self._paused.get(pool, False),
            last_run=self._first_run(found, BEGUN, "START_TIME_DESC"),
            next_run=upcoming.time if upcoming else None,
        )

    def _first_run(self, found: DeploymentResponse, states: tuple[str, ...], sort: str) -> RunBrief | None:
        chosen = {
            "deployment_id": {"any_": [str(found.id)]},
            "state": {"type": {"any_": list(states)}},
        }
        query = {"flow_runs": chosen, "sort": sort, "limit": 1}
        for run in self._client.request("POST", "/flow_runs/filter", json=query).json():
            time = run.get("start_time") or run["expected_start_time"]
            return RunBrief(run["id"], run["state_name"], dt.datetime.fromisoformat(time))
        return None

    def _online(self, pool: str) -> tuple[str, ...]:
        if pool in self._paused and pool not in self._workers:
            found = all_pages(partial(self._client.read_workers_for_work_pool, pool))
            online = sorted(worker.name for worker in found if worker.status is WorkerStatus.ONLINE)
            self._workers[pool] = tuple(online)
        return self._workers.get(pool, ())


def print_status(rows: Sequence[DeploymentStatus], report: Report, *, as_json: bool = False) -> None:
    """Print the rows to standard output and the report's failures to standard error."""
    if as_json:
        deployments = [
            asdict(row)
            | {"drift": [{"field": one.field, "server": one.old, "file": one.new} for one in row.drift]}
            for row in rows
        ]
        is_same = is_in_step(rows) and not report.failures
        report.print_document("status", {"in_step": is_same, "deployments": deployments})
    else:
        report.print_rows([_printed(row) for row in rows], COLUMNS, below=2)


def _printed(row: DeploymentStatus) -> Printed:
    meaning, style = STATES[row.state]
    cells = (
        f"{row.last_run.state} {_time(row.last_run.time)}" if row.last_run else "none",
        "paused" if row.paused else _time(row.next_run) if row.next_run else "none",
        ", ".join(row.workers) or "none polls",
    )
    labelled = "  ".join(f"{label} {cell}" for label, cell in zip(COLUMNS[2:], cells, strict=True))
    drift = (f"{one.field}: server {brief(one.old)}, file {brief(one.new)}" for one in row.drift)
    below = list(filter(None, (meaning, *drift)))
    return Printed(f"{row.name}: {row.state}  {labelled}", (row.name, row.state, *cells), style, below)


def _time(time: dt.datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
