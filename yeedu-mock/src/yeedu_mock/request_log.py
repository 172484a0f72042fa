"""Log each request once, with what may be a token taken out of its path."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

TOKEN = re.compile(r"(yeedu_session[/=])[^/&\s]+", re.IGNORECASE)


def redacted(path: str) -> str:
    """Return a path and query without the token that kernel routes carry in them."""
    return TOKEN.sub(r"\1***", path)


class RequestLog:
    """Middleware that logs method, redacted path, status and duration."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | str = "dropped"

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and status == "dropped":
                status = 403  # closed before it was accepted
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            query = scope.get("query_string", b"").decode("latin-1")
            path = redacted(scope["path"] + (f"?{query}" if query else ""))
            method = scope.get("method", "WS")
            # A path can hold anything; a line break in it must not make a second log line.
            logger.info(
                "%s %s %s %.1f ms", method, ascii(path)[1:-1], status, (time.perf_counter() - started) * 1000
            )
