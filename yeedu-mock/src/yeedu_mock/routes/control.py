"""`/_control/*`: what tests can do to a running mock. Served only if switched on, then to any program."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query

from yeedu_mock.control.faults import Fault
from yeedu_mock.control.switches import SwitchError, Switches
from yeedu_mock.errors import BadRequestError, ConflictError, MockError, NoAccessError, NotFoundError
from yeedu_mock.execution.functions import call_function as function_of_run
from yeedu_mock.execution.programs import FunctionSettings
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import Identifier, TheMock
from yeedu_mock.routes.control_requests import (
    ChangedCluster,
    FunctionCall,
    NewGroup,
    NewJob,
    NewNotebook,
    NewState,
    NewUser,
)
from yeedu_mock.state.enums import JobType, RunStatus
from yeedu_mock.state.passwords import hash_password
from yeedu_mock.state.records import (
    Cluster,
    Group,
    JobDefinition,
    NotebookDefinition,
    Run,
    Tenant,
    User,
    Workspace,
    type_of_run,
)
from yeedu_mock.state.seeds import seed


async def _refuse_pages(origin: Annotated[str | None, Header(include_in_schema=False)] = None) -> None:
    if origin:
        raise NoAccessError("Pages may not control this server; any site could try it through your browser.")


router = APIRouter(prefix="/_control", tags=["control"], dependencies=[Depends(_refuse_pages)])


Kind = Annotated[type_of_run | None, Query(description="Which, where the ids of two kinds coincide.")]


@router.get("/switches")
async def switches(mock: TheMock) -> Switches:
    """Return every switch."""
    return mock.control.switches


@router.patch("/switches")
async def change_switches(changes: dict[str, Any], mock: TheMock) -> Switches:
    """Change some switches: all of the changes, or none if one is wrong."""
    current = mock.control.switches
    try:
        current.take_over(current.changed(changes))
    except SwitchError as error:
        raise BadRequestError(str(error)) from error
    return current


@router.get("/faults")
async def faults(mock: TheMock) -> list[Fault]:
    """Return the faults that are still in force."""
    return mock.control.faults.all()


@router.post("/faults", status_code=201)
async def add_fault(fault: Fault, mock: TheMock) -> Fault:
    """Make chosen requests fail."""
    mock.control.faults.add(fault)
    return fault


@router.delete("/faults", status_code=204)
async def clear_faults(mock: TheMock) -> None:
    """Lift every fault."""
    mock.control.faults.clear()


@router.get("/journal")
async def journal(mock: TheMock, since: Annotated[int, Query(ge=0)] = 0) -> list[dict[str, Any]]:
    """Return the requests that began after the one with this number."""
    return mock.control.journal.since(since)


@router.delete("/journal", status_code=204)
async def clear_journal(mock: TheMock) -> None:
    """Forget every request."""
    mock.control.journal.clear()


@router.post("/reset")
async def reset(mock: TheMock) -> dict[str, str]:
    """End every run, forget everything, and seed again; sessions end too."""
    await mock.runs.end_all("The mock was reset.")
    mock.store.clear()
    mock.files.clear()
    mock.control.reset()
    seed(mock.store, mock.settings.username, mock.password)
    return {"message": "The mock is as new."}


@router.post("/sessions/expire")
async def expire_sessions(mock: TheMock) -> dict[str, str]:
    """End every session, as if it had expired."""
    mock.sessions.expire_all()
    return {"message": "Every session has expired."}


@router.post("/jobs", status_code=201)
async def add_job(job: NewJob, mock: TheMock) -> dict[str, int]:
    """Add a job; its id is the `job_id` of v2 and the `job_conf_id` of v1."""
    _workspace(mock, job.workspace_id)
    return {"job_id": mock.store.add(JobDefinition(**job.model_dump())).id}


@router.post("/notebooks", status_code=201)
async def add_notebook(notebook: NewNotebook, mock: TheMock) -> dict[str, int]:
    """Add a notebook; its id is the `notebook_id` of v2 and the `notebook_conf_id` of v1."""
    _workspace(mock, notebook.workspace_id)
    cells = [cell if isinstance(cell, dict) else code_cell(cell) for cell in notebook.cells]
    definition = NotebookDefinition(
        **notebook.model_dump(exclude={"cells"}),
        content={"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4},
    )
    return {"notebook_id": mock.store.add(definition).id}


@router.post("/users", status_code=201)
async def add_user(user: NewUser, mock: TheMock) -> dict[str, int]:
    """Add a user, and their tenants that do not exist yet."""
    if any(known.username == user.username for known in mock.store.all(User)):
        raise ConflictError(f"There is a user called {user.username} already.")
    known = {tenant.uuid for tenant in mock.store.all(Tenant)}
    for tenant in user.tenants:
        if tenant not in known:
            mock.store.add(Tenant(uuid=tenant, name=tenant))
    record = User(
        username=user.username,
        password_hash=hash_password(user.password),
        tenants=user.tenants,
        is_admin=user.is_admin,
    )
    return {"user_id": mock.store.add(record).id}


@router.post("/groups", status_code=201)
async def add_group(group: NewGroup, mock: TheMock) -> dict[str, int]:
    """Add a group of users of one tenant."""
    people = {person.username: person.id for person in mock.store.all(User) if group.tenant in person.tenants}
    if unknown := [name for name in group.usernames if name not in people]:
        raise NotFoundError(f"The tenant has no user called {unknown[0]!r}.")
    if any(known.tenant == group.tenant and known.name == group.groupname for known in mock.store.all(Group)):
        raise ConflictError(f"There is a group called {group.groupname} already.")
    members = [people[name] for name in group.usernames]
    record = Group(tenant=group.tenant, name=group.groupname, members=members)
    return {"group_id": mock.store.add(record).id}


@router.patch("/clusters/{cluster_id}")
async def change_cluster(cluster_id: Identifier, change: ChangedCluster, mock: TheMock) -> dict[str, Any]:
    """Set a cluster's state, or have everything that starts on it from here on run out of memory."""
    cluster = mock.store.get(Cluster, cluster_id)
    if cluster is None:
        raise NotFoundError(f"There is no cluster {cluster_id}.")
    if change.is_too_small is not None:
        cluster.is_too_small = change.is_too_small
    if change.status is not None:
        await mock.clusters.force(cluster, change.status)
    mock.store.save(cluster)
    return {
        "cluster_id": cluster_id,
        "cluster_status": cluster.status,
        "is_too_small": cluster.is_too_small,
    }


@router.get("/runs")
async def runs(mock: TheMock) -> list[dict[str, Any]]:
    """Return every run that the mock still keeps, in the order of their submission."""
    return [
        {"run_id": run.id, "run_status": run.status, "of": run.definition_name, "type": run.type}
        for run in mock.store.all(Run)
    ]


@router.post("/runs/{run_id}")
async def set_state(run_id: Identifier, state: NewState, mock: TheMock, kind: Kind = None) -> dict[str, str]:
    """Set a run's state by hand; a final one ends its process."""
    run = _run(mock, run_id, kind)
    if state.status is RunStatus.RUNNING:
        mock.runs.release(run)
    else:
        await mock.runs.force(run, state.status, state.error)
    return {"run_status": run.status}


@router.post("/runs/{run_id}/function")
async def call_function(run_id: Identifier, call: FunctionCall, mock: TheMock) -> dict[str, Any]:
    """Call the function that a run of a YEEDU_FUNCTIONS job serves; Yeedu's own route for it is not known."""
    run = _run(mock, run_id, "job")
    definition = mock.store.get(JobDefinition, run.definition_id)
    if definition is None or definition.job_type != JobType.YEEDU_FUNCTIONS:
        raise ConflictError(f"The run {run_id} is of no function.")
    limit = FunctionSettings.model_validate(definition.settings).yeedu_functions_request_timeout_sec
    try:
        return await function_of_run(mock.runs.folder(run), call.payload, limit)
    except TimeoutError as error:
        raise MockError(f"The function took longer than {limit} seconds.", status=504) from error


@router.post("/runs/{run_id}/kernel/kill")
async def kill_kernel(run_id: Identifier, mock: TheMock) -> dict[str, str]:
    """Kill the process of a run's kernel."""
    run = _run(mock, run_id, "notebook")
    await mock.runs.kernel(run).kill_process()
    return {"message": "The kernel's process is killed."}


@router.post("/runs/{run_id}/kernel/drop")
async def drop_websockets(run_id: Identifier, mock: TheMock) -> dict[str, int]:
    """Drop every websocket of a run; the kernel goes on."""
    dropped = mock.runs.kernel(_run(mock, run_id, "notebook")).drop_connections()
    return {"dropped": dropped}


def code_cell(source: str) -> dict[str, Any]:
    """Return a code cell in nbformat 4."""
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}


def _run(mock: Mock, run_id: int, kind: type_of_run | None) -> Run:
    for run in mock.store.all(Run):
        if run.id == run_id and kind in {None, run.type}:
            return run
    raise NotFoundError(f"There is no run {run_id}.")


def _workspace(mock: Mock, workspace_id: int) -> None:
    if mock.store.get(Workspace, workspace_id) is None:
        raise NotFoundError(f"There is no workspace {workspace_id}.")
