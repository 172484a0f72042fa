"""The clusters that a workspace has been given; its jobs may still be bound to any cluster of the tenant."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from yeedu_mock.errors import ConflictError, NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import Identifier, TheMock, TheSession, TheTenant
from yeedu_mock.routes.administration.workspace_access import ToManage, ToView
from yeedu_mock.routes.clusters import shown as cluster_shown
from yeedu_mock.routes.definitions import cluster_info, find_cluster
from yeedu_mock.routes.responses import PageLimit, PageNumber, Texts, found_page
from yeedu_mock.routes.workspaces import shown as workspace_shown
from yeedu_mock.state.permissions import permission_of
from yeedu_mock.state.records import Cluster, Workspace, WorkspaceCluster

router = APIRouter(prefix="/ac", tags=["access control"])


async def _cluster(cluster_id: Identifier, mock: TheMock, tenant: TheTenant) -> Cluster:
    return find_cluster(mock, tenant, cluster_id, None)


ClusterInPath = Annotated[Cluster, Depends(_cluster)]


@router.post("/workspace/{workspace_id:identifier}/cluster/{cluster_id:identifier}", status_code=201)
async def associate(workspace: ToManage, cluster: ClusterInPath, mock: TheMock) -> dict[str, Any]:
    """Give a workspace a cluster."""
    if _links(mock, workspace=workspace, cluster=cluster):
        raise ConflictError(f"The workspace {workspace.id} has the cluster {cluster.id} already.")
    mock.store.add(WorkspaceCluster(workspace_id=workspace.id, cluster_id=cluster.id))
    return {"workspace_id": workspace.id, "cluster_id": cluster.id}


@router.delete("/workspace/{workspace_id:identifier}/cluster/{cluster_id:identifier}")
async def dissociate(workspace: ToManage, cluster: ClusterInPath, mock: TheMock) -> dict[str, Any]:
    """Take a cluster from a workspace."""
    links = _links(mock, workspace=workspace, cluster=cluster)
    if not links:
        raise NotFoundError(f"The workspace {workspace.id} does not have the cluster {cluster.id}.")
    for link in links:
        mock.store.remove(link)
    return {"message": "The cluster is taken from the workspace.", "cluster_id": cluster.id}


@router.get("/workspace/{workspace_id:identifier}/clusters")
@router.get("/workspace/{workspace_id:identifier}/clusters/search")
async def clusters_of_workspace(
    workspace: ToView,
    mock: TheMock,
    cluster_name: str = "",
    cluster_status: Texts = None,
    enable: bool | None = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List a workspace's clusters, each of which runs any `job_type`; 404 if there are none."""
    states = {state.upper() for state in cluster_status or []}
    ids = {link.cluster_id for link in _links(mock, workspace=workspace)}
    found = [
        {**cluster_shown(mock, cluster), "cluster_info": cluster_info(mock, cluster.id)}
        for cluster in mock.store.all(Cluster)
        if cluster.id in ids
        and cluster_name.casefold() in cluster.name.casefold()
        and (not states or cluster.status in states)
        and (enable is None or enable == cluster.is_enabled)
    ]
    return found_page(found, page_number, limit, "cluster")


@router.get("/cluster/{cluster_id:identifier}/workspaces")
@router.get("/cluster/{cluster_id:identifier}/workspaces/search")
async def workspaces_of_cluster(
    cluster: ClusterInPath,
    mock: TheMock,
    session: TheSession,
    workspace_name: str = "",
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List a cluster's workspaces that the user may view; 404 if there are none."""
    user = mock.sessions.user(session)
    ids = {link.workspace_id for link in _links(mock, cluster=cluster)}
    found = [
        {**workspace_shown(mock, workspace), "workspace": workspace_shown(mock, workspace)}
        for workspace in mock.store.all(Workspace)
        if workspace.id in ids
        and workspace_name.casefold() in workspace.name.casefold()
        and permission_of(mock.store, user, workspace)
    ]
    return found_page(found, page_number, limit, "workspace")


def _links(
    mock: Mock, *, workspace: Workspace | None = None, cluster: Cluster | None = None
) -> list[WorkspaceCluster]:
    return [
        link
        for link in mock.store.all(WorkspaceCluster)
        if (workspace is None or link.workspace_id == workspace.id)
        and (cluster is None or link.cluster_id == cluster.id)
    ]
