"""Limits the size of request bodies, which the server holds in memory several times over."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 16 * 1024 * 1024
MAX_BYTES_AT_ONCE = 64 * 1024 * 1024


class BodyLimit:
    """An ASGI application that passes on requests whose bodies are within the limits.

    Args:
        app: The application that reads the bodies.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.bytes_under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 413 (too long) or 503 (too much at once) in one sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > MAX_BYTES:
            await _too_long()(scope, receive, send)
            return
        own, is_refused = 0, False

        async def receive_counted() -> Message:
            nonlocal own, is_refused
            message = await receive()
            size = len(message.get("body", b""))
            own += size
            self.bytes_under_way += size
            if is_refused or max(own - MAX_BYTES, self.bytes_under_way - MAX_BYTES_AT_ONCE) <= 0:
                return message
            is_refused = True
            await (_too_long() if own > MAX_BYTES else _too_much())(scope, receive, send)
            return {"type": "http.disconnect"}

        async def send_unless_refused(message: Message) -> None:
            if not is_refused:
                await send(message)

        try:
            await self._app(scope, receive_counted, send_unless_refused)
        finally:
            self.bytes_under_way -= own


def _too_long() -> Response:
    return JSONResponse({"exception_message": f"A request may have {MAX_BYTES >> 20} MiB at most"}, 413)


def _too_much() -> Response:
    sentence = "The server is receiving too much data at once; try again in a moment"
    return JSONResponse({"exception_message": sentence}, 503, {"Retry-After": "2"})
