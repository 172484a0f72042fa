"""Stand in for the identity provider: a page where a user logs in and is shown a token to paste."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import Response

from yeedu_mock.errors import MockError, TooLargeError
from yeedu_mock.routes import markup
from yeedu_mock.routes.access import TheMock

router = APIRouter(tags=["single sign-on"], include_in_schema=False)

PATH = "/sso"
MAX_FORM_BYTES = 10_000
FORM = (
    '<form method="post" action="/sso"><p><label>User name <input name="username" autocomplete="username">'
    '</label></p><p><label>Password <input name="password" type="password" autocomplete="current-password">'
    "</label></p><p><button>Log in</button></p></form>"
)


@router.get(PATH)
async def form() -> Response:
    """Ask for name and password."""
    return markup.page("Log in", FORM)


@router.post(PATH)
async def log_in(request: Request, mock: TheMock) -> Response:
    """Show a token to whoever knows the password."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise TooLargeError("The form is larger than 10000 bytes.")
    fields = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    try:
        token = mock.sessions.log_in(fields.get("username", ""), fields.get("password", ""))
    except MockError as error:
        answer = markup.page("Log in", markup.paragraph(error.message), FORM)
        answer.status_code = error.status
        return answer
    answer = markup.page("Logged in", markup.paragraph("The session token to paste:"), markup.block(token))
    answer.headers["Cache-Control"] = "no-store"
    return answer
