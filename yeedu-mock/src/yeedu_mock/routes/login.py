"""Health, login and logout, the choice of a tenant, and who one is; the same in every generation."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from yeedu_mock.errors import BadRequestError
from yeedu_mock.routes.access import TheMock, TheSession
from yeedu_mock.state.records import now

router = APIRouter(tags=["login"])


class LoginRequest(BaseModel):
    """What clients send to log in; the older ones only the first two."""

    username: str
    password: str
    auth_type: str | None = None
    timeout: str | int | None = None


@router.get("/healthCheck")
async def health_check(mock: TheMock) -> dict[str, Any]:
    """Say that the server is there."""
    return {"uptime": mock.uptime_seconds, "message": "OK", "date": now().isoformat()}


@router.get("/login/auth_type")
async def auth_type(mock: TheMock) -> dict[str, Any]:
    """Say how users log in."""
    return {"auth_type": mock.settings.auth_type}


@router.post("/login")
async def log_in(request: LoginRequest, mock: TheMock) -> dict[str, Any]:
    """Open a session."""
    expected = mock.settings.auth_type
    if request.auth_type not in {None, expected}:
        raise BadRequestError(f"This server's auth_type is {expected}, not {request.auth_type}.")
    return {"token": mock.sessions.log_in(request.username, request.password, request.timeout)}


@router.post("/logout")
async def log_out(mock: TheMock, session: TheSession) -> dict[str, Any]:
    """Close the session."""
    mock.sessions.close(session)
    return {"message": "Logged out."}


@router.post("/user/select/{tenant}", status_code=201)
async def select_tenant(tenant: str, mock: TheMock, session: TheSession) -> JSONResponse:
    """Bind the session to a tenant."""
    selected = mock.sessions.select_tenant(session, tenant)
    return JSONResponse(
        {"message": f"The tenant {selected.name} is selected.", "tenant_id": selected.uuid}, status_code=201
    )


@router.get("/user/info")
async def user_info(mock: TheMock, session: TheSession) -> dict[str, Any]:
    """Say who is logged in."""
    user = mock.sessions.user(session)
    return {
        "user_id": user.id,
        "username": user.username,
        "tenant_id": session.tenant,
        "is_admin": user.is_admin,
    }
