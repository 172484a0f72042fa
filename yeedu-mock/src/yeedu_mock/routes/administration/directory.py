"""Lets administrators look up users and groups of the selected tenant."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from yeedu_mock.errors import NoAccessError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import TheMock, TheSession, tenant_of
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
from yeedu_mock.state.records import Group


async def _administered(mock: TheMock, session: TheSession) -> str:
    tenant = tenant_of(mock, session)
    user = mock.sessions.user(session)
    if not user.is_admin:
        raise NoAccessError(f"The user {user.username} is no administrator of the selected tenant.")
    return tenant


AdministeredTenant = Annotated[str, Depends(_administered)]


def directory_routes(kind: Kind) -> APIRouter:
    """Return the routes for users, or for groups."""
    router = APIRouter(prefix="/platform/shared/admin", tags=["users"])
    name_in_query = Query(alias=NAME_KEYS[kind])
    others: Kind = "group" if kind == "user" else "user"
    id_in_query = Query(alias=f"{others}_id")

    @router.get(f"/{kind}s")
    async def people(
        mock: TheMock,
        tenant: AdministeredTenant,
        other_id: Annotated[int | None, id_in_query] = None,
        page_number: PageNumber = 1,
        limit: PageLimit = 100,
    ) -> dict[str, Any]:
        """List users, or those of one group; or groups, or those of one user."""
        found = _people(mock, kind, tenant, others, other_id)
        return one_page([shown(person) for person in found], page_number, limit)

    @router.get(f"/search/{kind}s")
    async def search_people(
        mock: TheMock,
        tenant: AdministeredTenant,
        name: Annotated[str, name_in_query] = "",
        other_id: Annotated[int | None, id_in_query] = None,
        page_number: PageNumber = 1,
        limit: PageLimit = 100,
    ) -> dict[str, Any]:
        """List those whose name contains `name`; 404 if there are none."""
        found = search(_people(mock, kind, tenant, others, other_id), name)
        return one_page([shown(person) for person in found], page_number, limit)

    @router.get(f"/match/{kind}/{{name}}")
    async def match(name: str, mock: TheMock, tenant: AdministeredTenant) -> dict[str, Any]:
        """Return the one with exactly this name."""
        return shown(with_name(mock, kind, tenant, name))

    return router


users = directory_routes("user")
groups = directory_routes("group")


def _people(mock: Mock, kind: Kind, tenant: str, others: Kind, other_id: int | None) -> list[Person]:
    found = people_of(mock, kind, tenant)
    if other_id is None:
        return [*found]
    other = with_id(mock, others, tenant, other_id)
    return [person for person in found if _is_member(person, other) or _is_member(other, person)]


def _is_member(person: Person, group: Person) -> bool:
    return isinstance(group, Group) and person.id in group.members
