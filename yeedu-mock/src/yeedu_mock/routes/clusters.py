"""The clusters of the selected tenant; the runs on one end when it is stopped."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from yeedu_mock.errors import BadRequestError, ConflictError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import Identifier, TheMock, TheSession, TheTenant
from yeedu_mock.routes.administration.cluster_confs import find_conf, machine_of
from yeedu_mock.routes.administration.cluster_confs import shown as conf_shown
from yeedu_mock.routes.author_filters import TheAuthors
from yeedu_mock.routes.definitions import by_whom, cluster_info, find_cluster
from yeedu_mock.routes.responses import Ids, PageLimit, PageNumber, Texts, found_page
from yeedu_mock.routes.run_responses import counts_by_state
from yeedu_mock.state.enums import ClusterStatus
from yeedu_mock.state.records import Cluster, ClusterConf, ClusterEvent, Run

router = APIRouter(tags=["clusters"])


class ClusterRequest(BaseModel):
    """The fields of a cluster that the mock acts on; others are stored and returned."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, min_length=1, max_length=255)
    cluster_conf_id: int | None = None


async def _in_query(
    mock: TheMock, tenant: TheTenant, cluster_id: int | None = None, cluster_name: str | None = None
) -> Cluster:
    return find_cluster(mock, tenant, cluster_id, cluster_name)


ClusterInQuery = Annotated[Cluster, Depends(_in_query)]


class WhichCluster(BaseModel):
    """Names a cluster in a request's body, as clients do to change its state."""

    cluster_id: int | None = None
    cluster_name: str | None = None


async def _in_query_or_body(
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


async def _wanted_confs(
    mock: TheMock,
    tenant: TheTenant,
    cluster_conf_id: int | None = None,
    cluster_conf_name: str | None = None,
    cloud_providers: Texts = None,
    machine_type_ids: Ids = None,
) -> set[int] | None:
    """Return the configurations whose clusters a list contains; None for all."""
    if (cluster_conf_id, cluster_conf_name, cloud_providers, machine_type_ids) == (None,) * 4:
        return None
    return {
        conf.id
        for conf in mock.store.all(ClusterConf)
        if conf.tenant == tenant
        and cluster_conf_id in {None, conf.id}
        and cluster_conf_name in {None, conf.name}
        and (not cloud_providers or machine_of(conf).cloud_provider in cloud_providers)
        and (not machine_type_ids or conf.machine_type_id in machine_type_ids)
    }


@router.get("/clusters/search")
@router.get("/clusters")
async def clusters(
    mock: TheMock,
    tenant: TheTenant,
    confs: Annotated[set[int] | None, Depends(_wanted_confs)],
    authors: TheAuthors,
    cluster_name: str = "",
    cluster_status: Texts = None,
    cluster_types: Texts = None,
    spark_infra_version_ids: Ids = None,
    enable: bool | None = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List clusters; 404 if there are none."""
    states = {state.upper() for state in cluster_status or []}
    found = [
        shown(mock, cluster)
        for cluster in mock.store.all(Cluster)
        if cluster.tenant == tenant
        and cluster_name.casefold() in cluster.name.casefold()
        and (not states or cluster.status in states)
        and (not cluster_types or cluster.settings.get("cluster_type") in cluster_types)
        and (
            not spark_infra_version_ids
            or cluster.settings.get("spark_infra_version_id") in spark_infra_version_ids
        )
        and (enable is None or enable == cluster.is_enabled)
        and (confs is None or cluster.conf_id in confs)
        and authors.admit(cluster.created_by, cluster.modified_by)
    ]
    return found_page(found, page_number, limit, "cluster")


@router.get("/cluster")
async def cluster(found: ClusterInQuery, mock: TheMock) -> dict[str, Any]:
    """Return a cluster by its id or name."""
    return shown(mock, found)


@router.post("/cluster")
async def create(
    request: ClusterRequest, mock: TheMock, tenant: TheTenant, session: TheSession
) -> dict[str, Any]:
    """Create a cluster, which is RUNNING at once."""
    if request.name is None:
        raise BadRequestError("A cluster needs a name.")
    _refuse_taken(mock, tenant, request.name)
    record = Cluster(
        tenant=tenant,
        name=request.name,
        conf_id=_conf_id(mock, tenant, request),
        created_by=mock.sessions.user(session).username,
        settings=request.model_extra or {},
        events=[ClusterEvent(status=ClusterStatus.RUNNING)],
    )
    return shown(mock, mock.store.add(record))


@router.put("/cluster")
async def edit(
    request: ClusterRequest, found: ClusterInQuery, mock: TheMock, session: TheSession
) -> dict[str, Any]:
    """Change the fields that are sent."""
    conf_id = _conf_id(mock, found.tenant, request)
    if request.name is not None and request.name != found.name:
        _refuse_taken(mock, found.tenant, request.name)
        found.name = request.name
    found.conf_id = found.conf_id if conf_id is None else conf_id
    found.settings |= request.model_extra or {}
    _save(mock, found, session)
    return shown(mock, found)


@router.post("/cluster/start", status_code=201)
@router.post("/cluster/stop", status_code=201)
@router.post("/cluster/destroy", status_code=201)
async def change_state(
    request: Request, found: ClusterInRequest, mock: TheMock, session: TheSession
) -> dict[str, Any]:
    """Start, stop or destroy a cluster."""
    action = request.url.path.rpartition("/")[2]
    if action == "start":
        mock.clusters.start(found)
    else:
        await mock.clusters.leave(
            found, {"stop": ClusterStatus.STOPPED, "destroy": ClusterStatus.DESTROYED}[action]
        )
    _save(mock, found, session)
    return shown(mock, found)


@router.put("/cluster/enable")
@router.put("/cluster/disable")
async def enable(
    request: Request, found: ClusterInRequest, mock: TheMock, session: TheSession
) -> dict[str, Any]:
    """Enable or disable a cluster."""
    found.is_enabled = request.url.path.endswith("/enable")
    _save(mock, found, session)
    return shown(mock, found)


@router.get("/cluster/stats")
async def stats(found: ClusterInQuery, mock: TheMock) -> dict[str, Any]:
    """Count a cluster's runs by state."""
    runs = [run for run in mock.store.all(Run) if run.cluster_id == found.id]
    return {"cluster_id": found.id, **counts_by_state(runs)}


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


def shown(mock: Mock, cluster: Cluster) -> dict[str, Any]:
    """Return a cluster as the API answers it."""
    conf = None if cluster.conf_id is None else mock.store.get(ClusterConf, cluster.conf_id)
    return {
        **cluster.settings,
        **cluster_info(mock, cluster.id),
        "cluster_conf_id": cluster.conf_id,
        "cluster_conf": {} if conf is None else conf_shown(conf),
        "enable": cluster.is_enabled,
        "tenant_id": cluster.tenant,
        "created_by": by_whom(mock, cluster.created_by),
        "modified_by": by_whom(mock, cluster.modified_by or cluster.created_by),
        "created_at": cluster.created_at.isoformat(),
        "last_update_date": cluster.modified_at.isoformat(),
    }


def _conf_id(mock: Mock, tenant: str, request: ClusterRequest) -> int | None:
    if request.cluster_conf_id is None:
        return None
    return find_conf(mock, tenant, request.cluster_conf_id, None).id


def _refuse_taken(mock: Mock, tenant: str, name: str) -> None:
    if any(known.tenant == tenant and known.name == name for known in mock.store.all(Cluster)):
        raise ConflictError(f"The tenant has a cluster called {name} already.")


def _save(mock: Mock, cluster: Cluster, session: TheSession) -> None:
    cluster.modified_by = mock.sessions.user(session).username
    mock.store.save(cluster)
