"""Keeps web pages of other sites away from the Prefect API, which trusts whoever reaches it.

A browser lets any page send requests to ``localhost``, and a page whose owner points its name at this machine
(DNS rebinding) can read the answers as well. Three rules, for HTTP and websockets:

- The ``Host`` has to be an address, a name without a dot (``localhost``, ``server``: nobody outside can own
  one), a name below ``.localhost``, or one of the allowed hosts.
- The ``Origin``, if there is one, has to be the host of the request, or the UI's own address.
- A request from another site's page without an ``Origin`` (``Sec-Fetch-Site``) never reaches the API.

Programs send neither ``Origin`` nor ``Sec-Fetch-Site`` and are not affected. Browser vendors recommend this
in place of tokens (https://web.dev/articles/fetch-metadata); it costs no request.

The guard also keeps the server's own pages from sending requests to other servers: a browser obeys the
``Content-Security-Policy`` of every answer, whatever a page's code or an artifact's text names. The pages
that describe the API are refused, because their code is on other servers.
"""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(?:\[(?P<address>[^][]+)\]|(?P<name>[^][:/?#@,\s]+))(?::\d+)?")
_SAME_SITE = {"", "none", "same-origin"}
# The UI generates code (for the graph of a run, for forms), styles (for charts and editors), pictures and
# workers itself. Inline code, as in an artifact's text, and code of other servers are never run.
_POLICY = (
    "default-src 'self'",
    "script-src 'self' 'unsafe-eval'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self' data: blob:",
    "worker-src 'self' data: blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
)
_RESPONSE_HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_NO_DOCS = (
    "This page would run code of another server where your login lies, so it is not shown. "
    "/openapi.json describes the API; open that in a tool of your own.\n"
)
_FOREIGN_PAGES = {
    f"{base}{page}" for base in ("", "/api") for page in ("/docs", "/redoc", "/docs/oauth2-redirect")
}


class Guard:
    """An ASGI application that passes on requests of its own pages and of programs, and refuses the rest.

    Args:
        app: The guarded application.
        allowed_hosts: Further host names under which this server is reached; ``*.example.com`` stands for all
            names below ``example.com``. Scheme, port and path around a name are ignored.
        ui_url: The address of the UI, whose host and origin are allowed; empty for none.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = (), ui_url: str = "") -> None:
        ui = urlsplit(ui_url)
        self._app = app
        self._hosts = {name for host in allowed_hosts if (name := _name_in(host))}
        self._hosts |= {ui.hostname} if ui.hostname else set()
        self._ui_origin = f"{ui.scheme}://{ui.netloc}".lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 in one sentence, or pass the request on and add security headers to its answer."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        path = str(scope["path"])
        refusal = self._refusal(Headers(scope=scope), path)
        if not refusal and path.rstrip("/") in _FOREIGN_PAGES and scope["type"] == "http":
            await PlainTextResponse(_NO_DOCS, status_code=404)(scope, receive, send)
        elif not refusal:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(f"{refusal}\n", status_code=403)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal})

    def _refusal(self, headers: Headers, path: str) -> str:
        host = _only(headers, "host")
        if not self._is_known(host):
            return (
                f"{host!r} is not a name of this server; "
                f"if it should be one, add it to PREFECT_ALLOWED_HOSTS and restart the server"
            )
        origin = _only(headers, "origin")
        if origin and origin != self._ui_origin and _host_of(origin) != host:
            return (
                f"pages of {origin!r} may not use this server; if it is this server's own address, "
                "as a proxy before it shows it, set PREFECT_UI_URL to it and restart the server"
            )
        if not origin and path.startswith("/api") and headers.get("sec-fetch-site", "") not in _SAME_SITE:
            return "pages of other sites may not use this server"
        return ""

    def _is_known(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if not parts:
            return False
        name = parts["address"] or parts["name"]
        if "." not in name or name.endswith(".localhost") or name in self._hosts:
            return True
        if any(name.endswith(known[1:]) for known in self._hosts if known.startswith("*.")):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _name_in(address: str) -> str:
    """Return the host name in what may be a whole address; the refusal's sentence shows it with its port."""
    name = address.strip().lower().rpartition("//")[2].partition("/")[0]
    return name if name.count(":") > 1 else name.partition(":")[0]


def _host_of(origin: str) -> str:
    """Return an origin's host and port; an empty string, which matches no host, if it is malformed."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _only(headers: Headers, name: str) -> str:
    """Return a header's value; one that is sent twice is joined, and matches no host and no origin."""
    return ", ".join(headers.getlist(name)).lower()


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _RESPONSE_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
