"""Logs each request once, enters it in the journal, and makes it fail if a fault says so."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response

from yeedu_mock.control.anonymous_limits import BoundedBody
from yeedu_mock.control.gateway import Gateway, page
from yeedu_mock.control.journal import Entry
from yeedu_mock.errors import MockError, NotLoggedInError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from yeedu_mock.control.allowed_hosts import Names
    from yeedu_mock.control.control import Control
    from yeedu_mock.control.faults import Fault
    from yeedu_mock.state.sessions import Sessions

logger = logging.getLogger(__name__)

TOKEN = re.compile(r"(yeedu_session[/=])[^/&\s]+", re.IGNORECASE)
MAX_PATH_CHARACTERS = 2000  # that the log and the journal keep
CONTROL_PREFIX = "/_control/"
DROP_CONNECTION = "yeedu_mock.drop_connection"
"""The key of a scope under which a route finds what drops its connection."""


def redacted(path: str) -> str:
    """Return a path and query without the token that kernel routes have in them."""
    return TOKEN.sub(r"\1***", path)


class RequestWatch:
    """The outermost layer of the application; nothing may stand between it and uvicorn.

    Args:
        app: The application.
        control: Has the faults, and the journal.
        names: The host names under which the application answers.
        sessions: The sessions; their clients may send larger bodies.
    """

    def __init__(self, app: ASGIApp, control: Control, names: Names, sessions: Sessions) -> None:
        self._app = app
        self._control = control
        self._names = names
        self._sessions = sessions
        self._gateway = Gateway(control.switches)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        method = scope.get("method", "WS")
        is_control = scope["path"].startswith(CONTROL_PREFIX)
        fault = None if is_control else self._control.faults.take(method, scope["path"])
        number = self._control.journal.next_number()
        scope = {**scope, DROP_CONNECTION: partial(drop_connection, send)}
        begun, clock = time.time(), time.perf_counter()
        status: int | None = None

        async def note_status(message: Message) -> None:
            nonlocal status
            status = _status(message, status)
            await send(message)

        try:
            refusal = self._names.refusal(scope) or self._gateway.refusal(method, scope["path"])
            if scope["type"] == "http" and not is_control:
                receive = BoundedBody(receive, partial(self._has_session, scope))
            if refusal is not None:
                await _refuse(refusal, scope, receive, note_status)
            elif fault is None:
                await self._app(scope, receive, note_status)
            else:
                await self._fail(fault, scope, receive, note_status, send)
        finally:
            duration = time.perf_counter() - clock
            path = _printable_path(scope)
            logger.info("%s %s %s %.1f ms", method, path, status or "dropped", duration * 1000)
            if not is_control:
                self._control.journal.enter(Entry(number, begun, method, path, status, duration))

    def _has_session(self, scope: Scope) -> bool:
        _, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        try:
            self._sessions.find(token.strip())
        except NotLoggedInError:
            return False
        return True

    async def _fail(
        self, fault: Fault, scope: Scope, receive: Receive, note_status: Send, send: Send
    ) -> None:
        if fault.delay_seconds:
            # Read first: like a slow server, this accepts what a client sent before it gave up.
            receive = await _received(receive) if scope["type"] == "http" else receive
            await asyncio.sleep(fault.delay_seconds)
        if fault.drop == "before":
            drop_connection(send)
        elif fault.drop == "after":
            await self._app(scope, receive, _into_nothing)
            drop_connection(send)
        elif fault.drop == "during":
            await self._app(scope, receive, _beginning(fault.drop_after_bytes, note_status, send))
        elif fault.status is not None:
            await _refuse(_answer(fault, fault.status), scope, receive, note_status)
        else:
            await self._app(scope, receive, note_status)


def drop_connection(send: Send) -> None:
    """Reset the client's connection without an answer.

    ASGI has no message for that, but uvicorn's `send` is a method of the object that holds the transport.
    """
    cycle: Any = send.__self__  # type: ignore[attr-defined]
    cycle.transport.abort()


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
    await response(scope, receive, send)


def _beginning(size: int, note_status: Send, send: Send) -> Send:
    """Return a function that sends the first bytes of an answer and then ends the connection."""
    connection: Any = send.__self__  # type: ignore[attr-defined]

    async def send_beginning(message: Message) -> None:
        nonlocal size
        if connection.transport.is_closing():
            return
        body = message.get("body", b"")
        is_last = message["type"] == "http.response.body" and len(body) > size
        await note_status({**message, "body": body[:size], "more_body": True} if is_last else message)
        size -= len(body)
        if is_last:
            connection.transport.close()
            while not connection.disconnected:  # until then, uvicorn expects more
                await asyncio.sleep(0.001)

    return send_beginning


async def _received(receive: Receive) -> Receive:
    """Receive a request's whole body, and return a function that hands it out again."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again


def _answer(fault: Fault, status: int) -> Response:
    if fault.page is not None:
        answer = page(status, fault.page)
        answer.headers.update(fault.headers)
        return answer
    if fault.text is not None:
        return PlainTextResponse(fault.text, status, fault.headers)
    body = fault.body if fault.body is not None else MockError("A fault was injected.").body()
    return JSONResponse(body, status, fault.headers)


async def _into_nothing(_: Message) -> None:
    """Discard an answer."""


def _status(message: Message, before: int | None) -> int | None:
    if message["type"] in {"http.response.start", "websocket.http.response.start"}:
        return message["status"]
    if message["type"] == "websocket.accept":
        return 101
    if message["type"] == "websocket.close" and before is None:
        return 403  # closed before it was accepted
    return before


def _printable_path(scope: Scope) -> str:
    """Return path and query on one line: a path may contain anything, even line breaks."""
    query = scope.get("query_string", b"").decode("latin-1")
    return ascii(redacted(scope["path"] + (f"?{query}" if query else "")))[1:-1][:MAX_PATH_CHARACTERS]
