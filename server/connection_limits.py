"""Limits what a connection may cost the server, above all before its client has logged in.

uvicorn limits neither the size of a request's head nor the time that it takes, buffers what a client does not
read, and lets a websocket send megabytes before its first message is checked. A few dozen connections can
fill the memory that way. Here, a visitor who is not known yet

- has to send a request's head, or a websocket's first message, within half a minute and 64 KiB,
- may have at most a few requests in line, and
- is cut off, the oldest first, when there are too many such visitors, or too many who do not read.

A visitor is known after a correct login, or after a request if there is no login. Known visitors are limited
only by the size of a message and the number of all connections.
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_IN_LINE = 16
SECONDS_TO_SPEAK = 30.0
# An event is one message, and may have 1.5 MB (PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES).
MAX_BYTES_OF_MESSAGE = 2 * 1024 * 1024
# A flow run has about four connections, so this allows for more runs than one server can serve.
MAX_CONNECTIONS = 10_000
MAX_ANONYMOUS = 1_000
MAX_SLOW_ANONYMOUS = 200
FILES_BESIDE = 256  # for the database, logs and services, out of all files that the process may open
_logger = logging.getLogger("uvicorn.error")


class Visitor:
    """The client of one connection."""

    __slots__ = ("is_known",)

    def __init__(self) -> None:
        self.is_known = False


class _Anonymous:
    """The connections of visitors who are not known yet, oldest first.

    Args:
        limit: How many there may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._all: dict[LimitedHttp | LimitedWebSocket, None] = {}

    def add(self, connection: "LimitedHttp | LimitedWebSocket") -> None:
        """Add a connection; cut off the oldest if there are too many."""
        self._all[connection] = None
        if len(self._all) > self._limit:
            self.evict()

    def discard(self, connection: "LimitedHttp | LimitedWebSocket") -> None:
        """Remove a connection, if it is there."""
        self._all.pop(connection, None)

    def evict(self) -> bool:
        """Cut off the oldest connection; return whether there was one."""
        while self._all:
            oldest = next(iter(self._all))
            del self._all[oldest]
            if not oldest.visitor.is_known:
                oldest.cut_off()
                return True
        return False


class Connections:
    """All connections of one server."""

    limit = MAX_CONNECTIONS
    anonymous = _Anonymous(MAX_ANONYMOUS)
    slow_anonymous = _Anonymous(MAX_SLOW_ANONYMOUS)


class LimitedHttp(HttpToolsProtocol):
    """HTTP with the limits above; `scope["state"]["visitor"]` is the `Visitor` whose request it is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.visitor = Visitor()
        self.app_state = {**self.app_state, "visitor": self.visitor}
        self._answering: RequestResponseCycle | None = None
        self._unread_bytes = 0  # of data that is not yet part of a request
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        Connections.anonymous.add(self)
        if len(self.connections) > Connections.limit and not Connections.anonymous.evict():
            _logger.warning("A connection was refused: there are %d already", Connections.limit)
            self.cut_off()
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop tracking the connection."""
        self._forget()
        super().connection_lost(exc)

    def cut_off(self) -> None:
        """End the connection at once."""
        self._give_up_answers()
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse the latest data, and all requests that wait in line."""
        super().send_400_response(msg)
        self._give_up_answers()

    def _give_up_answers(self) -> None:
        for cycle in (self._answering, self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _forget(self) -> None:
        Connections.anonymous.discard(self)
        Connections.slow_anonymous.discard(self)
        self._has_request()

    def _await_request(self) -> None:
        self._deadline = self.loop.call_later(SECONDS_TO_SPEAK, self.cut_off)

    def _has_request(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def data_received(self, data: bytes) -> None:
        """Take bytes; refuse headers that are too many or too long."""
        if not self._deadline and (not self.cycle or self.cycle.response_complete):
            self._await_request()
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_BYTES or (self.headers and len(self.headers) > MAX_HEADERS):
            self._unread_bytes = 0
            self.send_400_response("A request's headers are too many or too long.")

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the websocket's own limits."""
        self._forget()
        self._unread_bytes = 0
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        """Take a request.

        Raises:
            ValueError: Too many are in line; uvicorn answers 400 and closes.
        """
        self._has_request()
        self._unread_bytes = 0
        super().on_headers_complete()
        if len(self.pipeline) > MAX_IN_LINE:
            raise ValueError("too many requests in line")

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._unread_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Record that a visitor who is not known does not read the answers."""
        super().pause_writing()
        if not self.visitor.is_known:
            Connections.slow_anonymous.add(self)

    def resume_writing(self) -> None:
        """Record that the visitor reads again."""
        super().resume_writing()
        Connections.slow_anonymous.discard(self)


class LimitedWebSocket(WebSocketsSansIOProtocol):
    """A websocket with the limits above: its visitor is known once the application has sent something.

    Prefect sends nothing before it has accepted a client's first message, ``auth``. A client without a
    subprotocol sends no such message; Prefect accepts it only if there is no login.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.visitor: Visitor = self.app_state["visitor"]  # of the request that asked for the websocket
        self._said_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start waiting for the client's first message."""
        super().connection_made(transport)
        if self.visitor.is_known:
            return
        Connections.anonymous.add(self)
        self._deadline = self.loop.call_later(SECONDS_TO_SPEAK, self._refuse, "no `auth` message in time")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop tracking the connection, and release the application if it waits to send."""
        self._is_done_waiting()
        self.writable.set()
        super().connection_lost(exc)

    def _is_done_waiting(self) -> None:
        Connections.anonymous.discard(self)
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def data_received(self, data: bytes) -> None:
        """Take bytes, but only a few before the client is known."""
        if not self.visitor.is_known:
            self._said_bytes += len(data)
            if self._said_bytes > MAX_BYTES:
                self._refuse("the `auth` message is too long")
                return
        super().data_received(data)

    async def send(self, message: Any) -> None:
        """Send a message; from the first one on, or once it is let in without a login, the client is known.

        Raises:
            ClientDisconnected: The connection has ended meanwhile.
        """
        kind = message["type"]
        if self.transport.is_closing():
            if kind == "websocket.close":
                return
            raise ClientDisconnected
        await super().send(message)
        is_in = kind == "websocket.send" or (kind == "websocket.accept" and not message.get("subprotocol"))
        if is_in and not self.visitor.is_known:
            self.visitor.is_known = True
            self._is_done_waiting()

    def _refuse(self, reason: str) -> None:
        """Close the connection, whatever the client does."""
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self.conn.fail(1008, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.close()
        else:
            self.cut_off()

    def cut_off(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """Make the application wait for a client that does not read."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Let the application continue."""
        self.writable.set()

    def handle_ping(self) -> None:
        """Answer a ping, or cut off a client that does not read."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Close the connection without waiting for a client that does not read."""
        super().keepalive_timeout()
        if not self.writable.is_set():
            self.transport.abort()
