"""The logged-in user's tenants, roles and personal tokens."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from yeedu_mock.errors import NotFoundError
from yeedu_mock.routes.access import Identifier, TheMock, TheSession
from yeedu_mock.routes.responses import PageLimit, PageNumber, found_page, one_page
from yeedu_mock.state.records import Session, Tenant
from yeedu_mock.state.sessions import timeout_seconds

router = APIRouter(prefix="/user", tags=["users"])

DEFAULT_TOKEN_TIMEOUT = "30 days"  # noqa: S105 - how long a token lasts, not a token


class TokenRequest(BaseModel):
    """The body of a request for a personal token."""

    description: str | None = Field(default=None, max_length=1000)
    timeout: str | int | None = None


@router.get("/info")
async def user_info(mock: TheMock, session: TheSession) -> dict[str, Any]:
    """Return who is logged in."""
    user = mock.sessions.user(session)
    return {
        "user_id": user.id,
        "username": user.username,
        "tenant_id": mock.sessions.tenant(session),
        "is_admin": user.is_admin,
    }


@router.get("/info/roles")
async def roles(mock: TheMock, session: TheSession, tenant_id: str | None = None) -> dict[str, Any]:
    """Return the user's roles, in one tenant or in all of theirs."""
    user = mock.sessions.user(session)
    if tenant_id is not None and tenant_id not in user.tenants:
        raise NotFoundError(f"The user does not belong to a tenant {tenant_id}.")
    role = "Admin" if user.is_admin else "User"
    return {
        "data": [
            {"tenant_id": tenant, "roles": [{"role_name": role}]}
            for tenant in user.tenants
            if tenant_id in {None, tenant}
        ],
        "user_roles": [{"role_name": "User"}],
    }


@router.get("/tenants/search")
@router.get("/tenants")
async def tenants(
    mock: TheMock,
    session: TheSession,
    tenant_name: str = "",
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List the user's tenants; 404 if there are none."""
    allowed = mock.sessions.user(session).tenants
    found = [
        {"tenant_id": tenant.uuid, "name": tenant.name}
        for tenant in mock.store.all(Tenant)
        if tenant.uuid in allowed and tenant_name.casefold() in tenant.name.casefold()
    ]
    return found_page(found, page_number, limit, "tenant")


@router.post("/token", status_code=201)
async def create_token(request: TokenRequest, mock: TheMock, session: TheSession) -> dict[str, Any]:
    """Create a personal token, which is shown only once."""
    seconds = timeout_seconds(DEFAULT_TOKEN_TIMEOUT if request.timeout is None else request.timeout)
    user = mock.sessions.user(session)
    opened, token = mock.sessions.open(user, seconds, description=request.description or "")
    return {**_shown(opened), "token": token}


@router.get("/tokens")
async def tokens(
    mock: TheMock, session: TheSession, page_number: PageNumber = 1, limit: PageLimit = 100
) -> dict[str, Any]:
    """List the user's personal tokens, without the tokens themselves."""
    return one_page([_shown(known) for known in _tokens(mock, session)], page_number, limit)


@router.delete("/token/{token_id:identifier}")
async def delete_token(token_id: Identifier, mock: TheMock, session: TheSession) -> dict[str, Any]:
    """End a personal token."""
    for known in _tokens(mock, session):
        if known.id == token_id:
            mock.sessions.close(known)
            return {"message": "The token is deleted.", "token_id": token_id}
    raise NotFoundError(f"There is no token {token_id}.")


def _tokens(mock: TheMock, session: TheSession) -> list[Session]:
    return [
        known
        for known in mock.store.all(Session)
        if known.user_id == session.user_id and known.description is not None
    ]


def _shown(session: Session) -> dict[str, Any]:
    return {
        "token_id": session.id,
        "description": session.description,
        "created_at": session.created_at.isoformat(),
        "expires_at": session.expires_at and session.expires_at.isoformat(),
    }
