"""The dependencies of most routes: the mock, the session, the workspace."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.requests import HTTPConnection, Request

from yeedu_mock.errors import BadRequestError, NoAccessError, NotFoundError, UnknownIdError
from yeedu_mock.mock import Mock
from yeedu_mock.state.enums import WorkspacePermission
from yeedu_mock.state.permissions import permission_needed, permission_of
from yeedu_mock.state.records import Definition, JobDefinition, NotebookDefinition, Session, Workspace

DefinitionType = TypeVar("DefinitionType", bound=Definition)

# SQLite's integers end here.
MAX_IDENTIFIER_DIGITS = 19
Identifier = Annotated[int, Path(ge=0, le=2**63 - 1)]


class IdentifierConvertor(IntegerConvertor):
    """What `{run_id:identifier}` matches; `int` takes numbers too long for Python too, and fails on them."""

    regex = f"[0-9]{{1,{MAX_IDENTIFIER_DIGITS}}}"


register_url_convertor("identifier", IdentifierConvertor())


# FastAPI calls a dependency that is not `async` in a thread, and the store belongs to the event loop's.
async def _mock(connection: HTTPConnection) -> Mock:
    return connection.app.state.mock


TheMock = Annotated[Mock, Depends(_mock)]


def base_url(request: Request, mock: Mock) -> str:
    """Return the base of the URLs handed out: the configured one, else the one the caller used."""
    return mock.settings.external_url or str(request.base_url).rstrip("/")


async def _session(connection: HTTPConnection, mock: TheMock) -> Session:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return mock.sessions.find(token.strip() if scheme.casefold() == "bearer" else None)


TheSession = Annotated[Session, Depends(_session)]


def tenant_of(mock: Mock, session: Session) -> str:
    """Return the tenant of a session.

    Raises:
        NoAccessError: The session has not selected one.
    """
    tenant = mock.sessions.tenant(session)
    if tenant is None:
        raise NoAccessError("No tenant is selected for the current session; call user/select first.")
    return tenant


async def _tenant(mock: TheMock, session: TheSession) -> str:
    return tenant_of(mock, session)


TheTenant = Annotated[str, Depends(_tenant)]


def workspace_of(mock: Mock, session: Session, identifier: int, permission: WorkspacePermission) -> Workspace:
    """Return a workspace of the session's tenant in which the user has a permission.

    Raises:
        NoAccessError: The session has not selected a tenant, or the user may not do this in the workspace.
        NotFoundError: The tenant has no such workspace.
    """
    tenant = tenant_of(mock, session)
    workspace = mock.store.get(Workspace, identifier)
    if workspace is None or workspace.tenant != tenant:
        raise UnknownIdError(f"There is no workspace {identifier} in the selected tenant.")
    require(mock, session, workspace, permission)
    return workspace


def require(mock: Mock, session: Session, workspace: Workspace, permission: WorkspacePermission) -> None:
    """Check that the session's user has a permission in a workspace.

    Raises:
        NoAccessError: The user does not.
    """
    user = mock.sessions.user(session)
    if (permission_of(mock.store, user, workspace) or 0) < permission:
        raise NoAccessError(
            f"The user {user.username} has not the permission {permission.name} in workspace {workspace.id}."
        )


async def _workspace(
    workspace_id: Identifier, connection: HTTPConnection, mock: TheMock, session: TheSession
) -> Workspace:
    needed = permission_needed(connection.scope["method"], connection.scope["path"])
    return workspace_of(mock, session, workspace_id, needed)


TheWorkspace = Annotated[Workspace, Depends(_workspace)]


def workspace_by_id_or_name(
    permission: WorkspacePermission,
) -> Callable[[Mock, Session, int | None, str | None], Awaitable[Workspace]]:
    """Return a dependency that finds the workspace whose id or name is in the query."""

    async def find(
        mock: TheMock, session: TheSession, workspace_id: int | None = None, workspace_name: str | None = None
    ) -> Workspace:
        tenant = tenant_of(mock, session)
        for workspace in mock.store.all(Workspace):
            if workspace.tenant == tenant and (
                workspace.id == workspace_id if workspace_id is not None else workspace.name == workspace_name
            ):
                require(mock, session, workspace, permission)
                return workspace
        raise NotFoundError("There is no such workspace in the selected tenant.")

    return find


WorkspaceToView = Annotated[Workspace, Depends(workspace_by_id_or_name(WorkspacePermission.VIEW))]
WorkspaceToEdit = Annotated[Workspace, Depends(workspace_by_id_or_name(WorkspacePermission.EDIT))]
WorkspaceToManage = Annotated[Workspace, Depends(workspace_by_id_or_name(WorkspacePermission.MANAGE))]


AnyDefinition = JobDefinition | NotebookDefinition


def definition_in_query(
    kind: type[JobDefinition] | type[NotebookDefinition], id_key: str, name_key: str
) -> Callable[..., Awaitable[AnyDefinition]]:
    """Return a dependency that finds the definition whose id or name is in the query under these keys."""

    async def find(request: Request, workspace: TheWorkspace, mock: TheMock) -> AnyDefinition:
        identifier = request.query_params.get(id_key)
        if identifier is not None and not (
            identifier.isdecimal() and len(identifier) <= MAX_IDENTIFIER_DIGITS
        ):
            raise BadRequestError(f"The {id_key} must be a number of up to {MAX_IDENTIFIER_DIGITS} digits.")
        number = None if identifier is None else int(identifier)
        return find_definition(mock, workspace, kind, number, request.query_params.get(name_key))

    return find


def find_definition(
    mock: Mock,
    workspace: Workspace,
    kind: type[DefinitionType],
    identifier: Any = None,
    name: Any = None,
) -> DefinitionType:
    """Return a definition of a workspace by its id or, without one, by its name.

    Raises:
        UnknownIdError: The workspace has no such definition.
    """
    for definition in mock.store.all(kind):
        if definition.workspace_id == workspace.id and (
            definition.id == identifier if identifier is not None else definition.name == name
        ):
            return definition
    called = identifier if identifier is not None else repr(name)
    raise UnknownIdError(f"There is no {kind.kind} {called} in the workspace {workspace.id}.")
