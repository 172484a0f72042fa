"""The workspaces of the selected tenant."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from yeedu_mock.errors import BadRequestError, ConflictError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import TheMock, TheSession, TheTenant, WorkspaceToManage, WorkspaceToView
from yeedu_mock.routes.definitions import by_whom
from yeedu_mock.routes.responses import PageLimit, PageNumber, found_page
from yeedu_mock.routes.run_responses import counts_by_state
from yeedu_mock.state.enums import WorkspacePermission
from yeedu_mock.state.permissions import permission_of
from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Run, User, Workspace, WorkspaceAccess

router = APIRouter(tags=["workspaces"])


class WorkspaceRequest(BaseModel):
    """The fields of a workspace; others are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: str | None = Field(default=None, min_length=1, max_length=255)
    description: str | None = None


@router.get("/workspaces/search")
@router.get("/workspaces")
async def workspaces(
    mock: TheMock,
    tenant: TheTenant,
    session: TheSession,
    workspace_name: str = "",
    enable: bool | None = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List the workspaces that the user may view; 404 if there are none."""
    user = mock.sessions.user(session)
    found = [
        shown(mock, workspace)
        for workspace in mock.store.all(Workspace)
        if workspace.tenant == tenant
        and permission_of(mock.store, user, workspace)
        and workspace_name.casefold() in workspace.name.casefold()
        and (enable is None or enable == workspace.is_enabled)
    ]
    return found_page(found, page_number, limit, "workspace")


@router.get("/workspace")
async def workspace(found: WorkspaceToView, mock: TheMock) -> dict[str, Any]:
    """Return a workspace by its id or name."""
    return shown(mock, found)


@router.post("/workspace")
async def create(
    request: WorkspaceRequest, mock: TheMock, tenant: TheTenant, session: TheSession
) -> dict[str, Any]:
    """Create a workspace, which its user may manage."""
    if request.name is None:
        raise BadRequestError("A workspace needs a name.")
    refuse_taken(mock, tenant, request.name)
    record = Workspace(tenant=tenant, name=request.name, description=request.description or "")
    return shown(mock, add_workspace(mock, record, mock.sessions.user(session)))


@router.put("/workspace")
async def edit(request: WorkspaceRequest, found: WorkspaceToManage, mock: TheMock) -> dict[str, Any]:
    """Change a workspace's name or description; an explicit null empties the description."""
    if request.name is not None and request.name != found.name:
        refuse_taken(mock, found.tenant, request.name)
        found.name = request.name
    if "description" in request.model_fields_set:
        found.description = request.description or ""
    mock.store.save(found)
    return shown(mock, found)


@router.put("/workspace/enable")
@router.put("/workspace/disable")
async def enable(request: Request, found: WorkspaceToManage, mock: TheMock) -> dict[str, Any]:
    """Enable or disable a workspace."""
    found.is_enabled = request.url.path.endswith("/enable")
    mock.store.save(found)
    return shown(mock, found)


@router.get("/workspace/stats")
async def stats(found: WorkspaceToView, mock: TheMock) -> dict[str, Any]:
    """Count a workspace's jobs, notebooks and runs."""
    runs = [run for run in mock.store.all(Run) if run.workspace_id == found.id]
    return {**shown(mock, found), **counts_by_state(runs)}


def refuse_taken(mock: Mock, tenant: str, name: str) -> None:
    """Check that a tenant has no workspace of this name.

    Raises:
        ConflictError: It has one.
    """
    if any(known.tenant == tenant and known.name == name for known in mock.store.all(Workspace)):
        raise ConflictError(f"The tenant has a workspace called {name} already.")


def add_workspace(mock: Mock, workspace: Workspace, user: User) -> Workspace:
    """Store a new workspace, and let its user manage it."""
    workspace.is_open = False
    workspace.created_by = user.username
    mock.store.add(workspace)
    mock.store.add(
        WorkspaceAccess(workspace_id=workspace.id, permission=WorkspacePermission.MANAGE, user_id=user.id)
    )
    return workspace


def shown(mock: Mock, workspace: Workspace) -> dict[str, Any]:
    """Return a workspace in the API's form."""
    kinds = {"job_count": JobDefinition, "notebook_count": NotebookDefinition}
    counts = {
        name: sum(record.workspace_id == workspace.id for record in mock.store.all(kind))
        for name, kind in kinds.items()
    }
    return {
        "workspace_id": workspace.id,
        "name": workspace.name,
        "description": workspace.description,
        "enable": workspace.is_enabled,
        "tenant_id": workspace.tenant,
        **counts,
        "created_by": by_whom(mock, workspace.created_by),
        "modified_by": by_whom(mock, workspace.created_by),
        "created_at": workspace.created_at.isoformat(),
    }
