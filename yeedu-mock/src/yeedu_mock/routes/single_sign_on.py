"""Stands in for the identity provider: a page where a user logs in and gets a token to paste."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import Response

from yeedu_mock.errors import MockError, TooLargeError
from yeedu_mock.routes.access import TheMock
from yeedu_mock.routes.rendering import page

router = APIRouter(tags=["single sign-on"], include_in_schema=False)

PATH = "/sso"
MAX_FORM_BYTES = 10_000


@router.get(PATH)
async def form() -> Response:
    """Ask for name and password."""
    return page("login", "Log in", error=None, token=None)


@router.post(PATH)
async def log_in(request: Request, mock: TheMock) -> Response:
    """Show a token if the password is right."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise TooLargeError("The form is larger than 10000 bytes.")
    fields = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    try:
        token = mock.sessions.log_in(fields.get("username", ""), fields.get("password", ""))
    except MockError as error:
        return page("login", "Log in", status_code=error.status, error=error.message, token=None)
    answer = page("login", "Logged in", error=None, token=token)
    answer.headers["Cache-Control"] = "no-store"
    return answer
