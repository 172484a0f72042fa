"""Health, login and logout, and the choice of a tenant; the same in every generation."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from yeedu_mock.errors import BadRequestError
from yeedu_mock.routes import single_sign_on
from yeedu_mock.routes.access import TheMock, TheSession, base_url
from yeedu_mock.state.records import now

router = APIRouter(tags=["login"])


class LoginRequest(BaseModel):
    """What clients send to log in; older clients send only the first two."""

    username: str | None = None
    password: str | None = None
    auth_type: str | None = None
    timeout: str | int | None = None


@router.get("/healthCheck")
async def health_check(mock: TheMock) -> dict[str, Any]:
    """Report that the server is up."""
    return {"uptime": mock.uptime_seconds, "message": "OK", "date": now().isoformat()}


@router.get("/login/auth_type")
async def auth_type(mock: TheMock) -> dict[str, Any]:
    """Return how users log in."""
    return {"auth_type": mock.settings.auth_type}


@router.post("/login")
async def log_in(login: LoginRequest, request: Request, mock: TheMock) -> dict[str, Any]:
    """Open a session, or return where to log in if that is done elsewhere."""
    expected = mock.settings.auth_type
    if login.auth_type not in {None, expected}:
        raise BadRequestError(f"This server's auth_type is {expected}, not {login.auth_type}.")
    if expected == "AZURE_SSO":
        return {"loginURL": base_url(request, mock) + single_sign_on.PATH}
    if not login.username or not login.password:
        raise BadRequestError("Give a username and a password.")
    return {"token": mock.sessions.log_in(login.username, login.password, login.timeout)}


@router.post("/logout")
async def log_out(mock: TheMock, session: TheSession) -> dict[str, Any]:
    """Close the session."""
    mock.sessions.close(session)
    return {"message": "Logged out."}


@router.post("/user/select/{tenant}", status_code=201)
async def select_tenant(tenant: str, mock: TheMock, session: TheSession) -> JSONResponse:
    """Bind the session to a tenant."""
    selected = mock.sessions.select_tenant(session, tenant)
    answer = {"message": f"The tenant {selected.name} is selected.", "tenant_id": selected.uuid}
    return JSONResponse({} if mock.control.switches.bare_answers else answer, status_code=201)
