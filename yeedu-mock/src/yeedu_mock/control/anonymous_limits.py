"""Limits clients without a login to a few kilobytes and a short time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 10.0
IDLE_SECONDS = 75  # between two requests, as nginx by default
MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 30.0
# Connections that have not yet sent a whole request line and headers; one more, and the oldest is closed.
MAX_SILENT = 256
MAX_CONNECTIONS = 1000


class PunctualHttp(H11Protocol):
    """uvicorn's HTTP protocol, but a request's headers must arrive within `HEAD_SECONDS`.

    uvicorn itself waits for them for ever, on any number of connections.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Wait for the first request; if too many connections wait, close the oldest."""
        super().connection_made(transport)
        self._watch()
        silent = {one: one._deadline for one in self.connections if isinstance(one, PunctualHttp)}
        waiting = {one: deadline.when() for one, deadline in silent.items() if deadline is not None}
        if len(waiting) > MAX_SILENT:
            min(waiting, key=lambda one: waiting[one])._give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what has arrived; go on waiting for the rest of a request that has begun."""
        super().handle_events()
        begun, _ = self.conn.trailing_data
        has_taken_over = self.transport.get_protocol() is not self  # a websocket
        if has_taken_over or (self.cycle is not None and not (self.cycle.response_complete and begun)):  # type: ignore[redundant-expr]
            self._stop()  # answering, or idle for as long as uvicorn keeps a connection
        else:
            self._watch()

    def _watch(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._stop()
        self.transport.abort()

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedBody:
    """Receives a request's body, which must be small and prompt if the client has no session.

    Args:
        receive: Where the body comes from.
        is_known: Whether the client has a session; called once, and only if it matters.
    """

    def __init__(self, receive: Receive, is_known: Callable[[], bool]) -> None:
        self._receive = receive
        self._is_known = is_known
        self._size = 0
        self._is_bounded = True
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS

    async def __call__(self) -> Message:
        """Receive the next part.

        Raises:
            HTTPException: With 413 or 408, if the body of a client without a session is too large or slow.
        """
        if not self._is_bounded:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self._require_session(408, f"a body has to come within {BODY_SECONDS:.0f} seconds")
            return await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            self._require_session(413, f"a body may have {MAX_BODY_BYTES} bytes")
        elif not message.get("more_body"):
            self._is_bounded = False  # after this comes only the client's disconnect
        return message

    def _require_session(self, status: int, what: str) -> None:
        if not self._is_known():
            raise HTTPException(status, f"Without a session, {what}.", {"Connection": "close"})
        self._is_bounded = False
