"""The workspaces of the selected tenant."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from yeedu_mock.errors import BadRequestError, ConflictError, NotFoundError
from yeedu_mock.routes.access import TheMock, TheTenant
from yeedu_mock.routes.answers import PageLimit, PageNumber, one_page
from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Run, Workspace

router = APIRouter(tags=["workspaces"])


class WorkspaceRequest(BaseModel):
    """The fields of a workspace; others are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: str | None = Field(default=None, min_length=1, max_length=255)
    description: str | None = None


def _in_query(
    mock: TheMock, tenant: TheTenant, workspace_id: int | None = None, workspace_name: str | None = None
) -> Workspace:
    for workspace in _all(mock, tenant):
        if workspace.id == workspace_id if workspace_id is not None else workspace.name == workspace_name:
            return workspace
    raise NotFoundError("There is no such workspace in the selected tenant.")


WorkspaceInQuery = Annotated[Workspace, Depends(_in_query)]


@router.get("/workspaces/search")
@router.get("/workspaces")
async def workspaces(
    mock: TheMock,
    tenant: TheTenant,
    workspace_name: str = "",
    enable: bool | None = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List workspaces; finding none is a 404."""
    found = [
        shown(workspace)
        for workspace in _all(mock, tenant)
        if workspace_name.casefold() in workspace.name.casefold()
        and (enable is None or enable == workspace.is_enabled)
    ]
    if not found:
        raise NotFoundError("No workspace was found.")
    return one_page(found, page_number, limit)


@router.get("/workspace")
async def workspace(found: WorkspaceInQuery) -> dict[str, Any]:
    """Return a workspace by its id or name."""
    return shown(found)


@router.post("/workspace")
async def create(request: WorkspaceRequest, mock: TheMock, tenant: TheTenant) -> dict[str, Any]:
    """Create a workspace."""
    if request.name is None:
        raise BadRequestError("A workspace needs a name.")
    if any(known.name == request.name for known in _all(mock, tenant)):
        raise ConflictError(f"The tenant has a workspace called {request.name} already.")
    record = Workspace(tenant=tenant, name=request.name, description=request.description or "")
    return shown(mock.store.add(record))


@router.put("/workspace")
async def edit(request: WorkspaceRequest, found: WorkspaceInQuery, mock: TheMock) -> dict[str, Any]:
    """Change a workspace's name or description."""
    found.name = request.name or found.name
    found.description = found.description if request.description is None else request.description
    mock.store.save(found)
    return shown(found)


@router.put("/workspace/enable")
@router.put("/workspace/disable")
async def enable(request: Request, found: WorkspaceInQuery, mock: TheMock) -> dict[str, Any]:
    """Enable or disable a workspace."""
    found.is_enabled = request.url.path.endswith("/enable")
    mock.store.save(found)
    return shown(found)


@router.get("/workspace/stats")
async def stats(found: WorkspaceInQuery, mock: TheMock) -> dict[str, Any]:
    """Count what a workspace holds."""
    kinds = {"jobs": JobDefinition, "notebooks": NotebookDefinition, "runs": Run}
    counts = {
        name: sum(record.workspace_id == found.id for record in mock.store.all(kind))
        for name, kind in kinds.items()
    }
    return {**shown(found), **counts}


def shown(workspace: Workspace) -> dict[str, Any]:
    """Return a workspace as the API answers it."""
    return {
        "workspace_id": workspace.id,
        "name": workspace.name,
        "description": workspace.description,
        "enable": workspace.is_enabled,
        "tenant_id": workspace.tenant,
        "created_at": workspace.created_at.isoformat(),
    }


def _all(mock: TheMock, tenant: str) -> list[Workspace]:
    return [workspace for workspace in mock.store.all(Workspace) if workspace.tenant == tenant]
