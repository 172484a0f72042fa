"""Access control of a workspace."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from yeedu_mock.errors import BadRequestError, ConflictError, NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import Identifier, TheMock, TheSession, workspace_of
from yeedu_mock.routes.administration.principals import (
    NAME_KEYS,
    Kind,
    Person,
    people_of,
    search,
    shown,
    with_id,
    with_name,
)
from yeedu_mock.routes.responses import PageLimit, PageNumber, one_page
from yeedu_mock.state.enums import WorkspacePermission
from yeedu_mock.state.permissions import DESCRIPTIONS
from yeedu_mock.state.records import Workspace, WorkspaceAccess

lookup = APIRouter(tags=["access control"])

PermissionId = Annotated[int | None, Query()]


class AccessRequest(BaseModel):
    """Gives a permission to a user or a group; the path says which."""

    permission_id: int
    user_id: int | None = None
    group_id: int | None = None


async def _to_view(workspace_id: Identifier, mock: TheMock, session: TheSession) -> Workspace:
    return workspace_of(mock, session, workspace_id, WorkspacePermission.VIEW)


async def _to_manage(workspace_id: Identifier, mock: TheMock, session: TheSession) -> Workspace:
    return workspace_of(mock, session, workspace_id, WorkspacePermission.MANAGE)


ToView = Annotated[Workspace, Depends(_to_view)]
ToManage = Annotated[Workspace, Depends(_to_manage)]


@lookup.get("/workspace/permissions")
async def permissions(_: TheSession) -> list[dict[str, Any]]:
    """List the permissions that someone can have in a workspace, the least first."""
    return [_permission(permission) for permission in WorkspacePermission]


@lookup.get("/workspace/permission/{permission_id:identifier}")
async def permission(permission_id: Identifier, _: TheSession) -> dict[str, Any]:
    """Return a permission by its id."""
    return _permission(_known(permission_id))


def access_routes(kind: Kind) -> APIRouter:
    """Return the routes for users, or for groups, relative to `/ac/workspace/{workspace_id}`."""
    router = APIRouter(tags=["access control"])
    name_in_query = Query(alias=NAME_KEYS[kind])

    @router.get(f"/{kind}s")
    async def candidates(
        workspace: ToView, mock: TheMock, page_number: PageNumber = 1, limit: PageLimit = 100
    ) -> dict[str, Any]:
        """List the users or groups of the workspace's tenant, with or without a permission in it."""
        people = people_of(mock, kind, workspace.tenant)
        return one_page([shown(person) for person in people], page_number, limit)

    @router.get(f"/{kind}s/search")
    async def search_candidates(
        workspace: ToView,
        mock: TheMock,
        name: Annotated[str, name_in_query] = "",
        page_number: PageNumber = 1,
        limit: PageLimit = 100,
    ) -> dict[str, Any]:
        """List those of its tenant whose name contains `name`; 404 if there are none."""
        found = search(people_of(mock, kind, workspace.tenant), name)
        return one_page([shown(person) for person in found], page_number, limit)

    @router.get(f"/{kind}/match/{{name}}")
    async def match(name: str, workspace: ToView, mock: TheMock) -> dict[str, Any]:
        """Return the one of its tenant with exactly this name."""
        return shown(with_name(mock, kind, workspace.tenant, name))

    @router.get(f"/{kind}s/permission")
    async def given(
        workspace: ToView,
        mock: TheMock,
        permission_id: PermissionId = None,
        page_number: PageNumber = 1,
        limit: PageLimit = 100,
    ) -> dict[str, Any]:
        """List who has which permission."""
        people = people_of(mock, kind, workspace.tenant)
        return one_page(_given(mock, workspace, people, permission_id), page_number, limit)

    @router.get(f"/{kind}s/permission/search")
    async def search_given(
        workspace: ToView,
        mock: TheMock,
        name: Annotated[str, name_in_query] = "",
        permission_id: PermissionId = None,
        page_number: PageNumber = 1,
        limit: PageLimit = 100,
    ) -> dict[str, Any]:
        """List who has which permission, of those whose name contains `name`; 404 if there are none."""
        people = search(people_of(mock, kind, workspace.tenant), name)
        found = _given(mock, workspace, people, permission_id)
        if not found:
            raise NotFoundError("Nobody with such a permission was found.")
        return one_page(found, page_number, limit)

    @router.get(f"/{kind}/{{person_id:identifier}}/permission")
    async def given_to(person_id: Identifier, workspace: ToView, mock: TheMock) -> dict[str, Any]:
        """Return someone's permissions; 404 if there are none."""
        person = with_id(mock, kind, workspace.tenant, person_id)
        found = _given(mock, workspace, [person], None)
        if not found:
            raise NotFoundError(f"The {kind} {person_id} has no permission in the workspace {workspace.id}.")
        highest = max(_of_person(mock, workspace, person), key=lambda access: access.permission)
        return {
            **shown(person),
            "workspace_id": workspace.id,
            "workspace": {"workspace_id": workspace.id, "name": workspace.name},
            f"{kind}_permission": {"permission": _permission(highest.permission)},
            "permissions": found,
        }

    @router.post(f"/{kind}", status_code=201)
    async def give(request: AccessRequest, workspace: ToManage, mock: TheMock) -> dict[str, Any]:
        """Give someone a permission."""
        person_id = request.user_id if kind == "user" else request.group_id
        if person_id is None:
            raise BadRequestError(f"Give the {kind}_id of whom it is for.")
        person = with_id(mock, kind, workspace.tenant, person_id)
        wanted = _known(request.permission_id)
        if _given(mock, workspace, [person], wanted):
            raise ConflictError(f"The {kind} {person_id} has the permission to {wanted.name} already.")
        access = WorkspaceAccess(
            workspace_id=workspace.id,
            permission=wanted,
            user_id=request.user_id if kind == "user" else None,
            group_id=request.group_id if kind == "group" else None,
        )
        _close(mock, workspace)
        return _access(mock.store.add(access), person)

    @router.delete(f"/{kind}/{{person_id:identifier}}/permission/{{permission_id:identifier}}")
    async def take(
        person_id: Identifier, permission_id: Identifier, workspace: ToManage, mock: TheMock
    ) -> dict[str, Any]:
        """Take a permission from someone."""
        person = with_id(mock, kind, workspace.tenant, person_id)
        for access in _of_person(mock, workspace, person):
            if access.permission == permission_id:
                _close(mock, workspace)
                mock.store.remove(access)
                return {"message": "The permission is taken away.", **_access(access, person)}
        raise NotFoundError(f"The {kind} {person_id} has no permission {permission_id} there.")

    return router


of_users = access_routes("user")
of_groups = access_routes("group")


def _close(mock: Mock, workspace: Workspace) -> None:
    """Restrict a workspace to those who are given access, even once nobody is left who has it."""
    workspace.is_open = False
    mock.store.save(workspace)


def _known(permission_id: int) -> WorkspacePermission:
    try:
        return WorkspacePermission(permission_id)
    except ValueError as error:
        raise NotFoundError(f"There is no workspace permission {permission_id}.") from error


def _permission(permission: WorkspacePermission) -> dict[str, Any]:
    return {
        "permission_id": permission.value,
        "permission": permission.name,
        "name": permission.name,
        "description": DESCRIPTIONS[permission],
    }


def _of_person(mock: Mock, workspace: Workspace, person: Person) -> list[WorkspaceAccess]:
    return [
        access
        for access in mock.store.all(WorkspaceAccess)
        if access.workspace_id == workspace.id
        and (access.user_id if person.kind == "user" else access.group_id) == person.id
    ]


def _given(
    mock: Mock, workspace: Workspace, people: Sequence[Person], permission_id: int | None
) -> list[dict[str, Any]]:
    return [
        _access(access, person)
        for person in people
        for access in _of_person(mock, workspace, person)
        if permission_id is None or access.permission == permission_id
    ]


def _access(access: WorkspaceAccess, person: Person) -> dict[str, Any]:
    return {
        **shown(person),
        "workspace_id": access.workspace_id,
        "permission_id": access.permission.value,
        "permission": access.permission.name,
        "created_at": access.created_at.isoformat(),
    }
