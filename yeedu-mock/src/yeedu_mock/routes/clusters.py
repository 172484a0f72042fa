"""The clusters of the selected tenant; starting and stopping one changes its state and nothing else."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from yeedu_mock.errors import BadRequestError, ConflictError, NotFoundError
from yeedu_mock.routes.access import Identifier, TheMock, TheTenant
from yeedu_mock.routes.answers import PageLimit, PageNumber, one_page
from yeedu_mock.routes.definitions import find_cluster
from yeedu_mock.state.records import Cluster, Run

router = APIRouter(tags=["clusters"])


class ClusterRequest(BaseModel):
    """The fields of a cluster that the mock acts on; others are kept and echoed."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, min_length=1, max_length=255)


def _in_query(
    mock: TheMock, tenant: TheTenant, cluster_id: int | None = None, cluster_name: str | None = None
) -> Cluster:
    return find_cluster(mock, tenant, cluster_id, cluster_name)


ClusterInQuery = Annotated[Cluster, Depends(_in_query)]


class WhichCluster(BaseModel):
    """Names a cluster in a body; clients do so where they change its state."""

    cluster_id: int | None = None
    cluster_name: str | None = None


def _in_query_or_body(
    mock: TheMock,
    tenant: TheTenant,
    body: WhichCluster | None = None,
    cluster_id: int | None = None,
    cluster_name: str | None = None,
) -> Cluster:
    if body is not None:
        cluster_id = body.cluster_id if cluster_id is None else cluster_id
        cluster_name = cluster_name or body.cluster_name
    return find_cluster(mock, tenant, cluster_id, cluster_name)


ClusterInRequest = Annotated[Cluster, Depends(_in_query_or_body)]


@router.get("/clusters/search")
@router.get("/clusters")
async def clusters(
    mock: TheMock,
    tenant: TheTenant,
    cluster_name: str = "",
    cluster_status: Annotated[list[str] | None, Query()] = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List clusters; finding none is a 404."""
    states = {state.upper() for state in cluster_status or []}
    found = [
        shown(cluster)
        for cluster in mock.store.all(Cluster)
        if cluster.tenant == tenant
        and cluster_name.casefold() in cluster.name.casefold()
        and (not states or cluster.status in states)
    ]
    if not found:
        raise NotFoundError("No cluster was found.")
    return one_page(found, page_number, limit)


@router.get("/cluster")
async def cluster(found: ClusterInQuery) -> dict[str, Any]:
    """Return a cluster by its id or name."""
    return shown(found)


@router.post("/cluster")
async def create(request: ClusterRequest, mock: TheMock, tenant: TheTenant) -> dict[str, Any]:
    """Create a cluster, which runs at once."""
    if request.name is None:
        raise BadRequestError("A cluster needs a name.")
    if any(known.tenant == tenant and known.name == request.name for known in mock.store.all(Cluster)):
        raise ConflictError(f"The tenant has a cluster called {request.name} already.")
    record = Cluster(tenant=tenant, name=request.name, settings=request.model_extra or {})
    return shown(mock.store.add(record))


@router.put("/cluster")
async def edit(request: ClusterRequest, found: ClusterInQuery, mock: TheMock) -> dict[str, Any]:
    """Change the fields that are sent."""
    found.name = request.name or found.name
    found.settings |= request.model_extra or {}
    mock.store.save(found)
    return shown(found)


@router.post("/cluster/start", status_code=201)
@router.post("/cluster/stop", status_code=201)
@router.post("/cluster/destroy", status_code=201)
async def change_state(request: Request, found: ClusterInRequest, mock: TheMock) -> dict[str, Any]:
    """Start, stop or destroy a cluster."""
    action = request.url.path.rpartition("/")[2]
    wanted = {"start": "RUNNING", "stop": "STOPPED", "destroy": "DESTROYED"}[action]
    if found.status in {wanted, "DESTROYED"}:
        raise ConflictError(f"The cluster {found.id} is {found.status}.")
    found.status = wanted
    mock.store.save(found)
    return shown(found)


@router.put("/cluster/enable")
@router.put("/cluster/disable")
async def enable(request: Request, found: ClusterInRequest, mock: TheMock) -> dict[str, Any]:
    """Enable or disable a cluster."""
    found.is_enabled = request.url.path.endswith("/enable")
    mock.store.save(found)
    return shown(found)


@router.get("/cluster/stats")
async def stats(found: ClusterInQuery, mock: TheMock) -> dict[str, Any]:
    """Count a cluster's runs by state."""
    counts: dict[str, int] = {}
    for run in mock.store.all(Run):
        if run.cluster_id == found.id:
            counts[run.status] = counts.get(run.status, 0) + 1
    return {"cluster_id": found.id, "job_stats": counts}


@router.get("/cluster/status")
async def status(
    found: ClusterInQuery, page_number: PageNumber = 1, limit: PageLimit = 100
) -> dict[str, Any]:
    """Return a cluster's latest state as a list of one."""
    state = {"cluster_id": found.id, "cluster_status": found.status, "at": found.modified_at.isoformat()}
    return one_page([state], page_number, limit)


@router.post("/cluster/{cluster_id:identifier}/stop_all_jobs", status_code=201)
async def stop_all_jobs(cluster_id: Identifier, mock: TheMock, tenant: TheTenant) -> dict[str, Any]:
    """Stop every run on a cluster."""
    found = find_cluster(mock, tenant, cluster_id, None)
    running = [
        run
        for run in mock.store.all(Run)
        if run.cluster_id == found.id and run.status in {"SUBMITTED", "RUNNING"}
    ]
    for run in running:
        await mock.runs.stop(run)
    return {"message": f"{len(running)} runs are being stopped.", "run_ids": [run.id for run in running]}


@router.get("/cluster/{cluster_id:identifier}/errors")
async def errors(
    cluster_id: Identifier,
    mock: TheMock,
    tenant: TheTenant,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List a cluster's errors; the mock's clusters have none."""
    find_cluster(mock, tenant, cluster_id, None)
    return one_page([], page_number, limit)


def shown(cluster: Cluster) -> dict[str, Any]:
    """Return a cluster as the API answers it."""
    return {
        **cluster.settings,
        "cluster_id": cluster.id,
        "name": cluster.name,
        "cluster_status": cluster.status,
        "enable": cluster.is_enabled,
        "tenant_id": cluster.tenant,
        "created_at": cluster.created_at.isoformat(),
    }
