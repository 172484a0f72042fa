"""Protects Prefect's login: throttles guesses, and rejects what Prefect would crash on.

Prefect checks passwords without delay, thousands of times a second. Here, after ten wrong guesses an address
has to wait a second before its next login is checked, even if it is right; every six seconds without a guess
it gets one back. A connection that has logged in never waits. Clients behind one proxy other than the
platform's (server/forwarded.py), or on one machine, share an address and wait together; a proxy that shares a
connection among many clients has to throttle guesses itself.

Prefect can compare only ASCII, and expects a websocket's first message to be a JSON object. Anything else is
turned into a wrong login, which Prefect refuses in its own way.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, cast

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FREE_GUESSES = 10.0
SECONDS_FOR_ONE = 6.0
PAUSE_SECONDS = 1.0
MAX_WAITING = 100  # from one address, and so the most guesses a second
MAX_ADDRESSES = 4096
_WRONG = {"type": "websocket.receive", "text": json.dumps({"type": "no login"})}


class Guesses:
    """Counts recent wrong logins by address, for a bounded number of addresses.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free: OrderedDict[str, tuple[float, float]] = OrderedDict()  # guesses left, and when that was
        self._waiting: Counter[str] = Counter()

    def free(self, client: str) -> float:
        """Return how many more guesses from an address are checked without a pause."""
        left, then = self._free.get(_network(client), (FREE_GUESSES, 0.0))
        return min(FREE_GUESSES, left + (self._clock() - then) / SECONDS_FOR_ONE)

    def note(self, client: str) -> None:
        """Record a wrong guess."""
        left = max(self.free(client) - 1, 0.0)
        self._free[_network(client)] = left, self._clock()
        self._free.move_to_end(_network(client))
        if len(self._free) > MAX_ADDRESSES:
            self._free.popitem(last=False)

    async def turn(self, client: str) -> bool:
        """Wait until an address's next login may be checked; return False if too many wait already."""
        if self.free(client) >= 1:
            return True
        address = _network(client)
        if self._waiting[address] >= MAX_WAITING:
            return False
        self._waiting[address] += 1
        try:
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
        return True


def _network(client: str) -> str:
    """Return what identifies one client: an IPv4 address, or a /64 network of IPv6."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else client


class Login:
    """An ASGI application that passes on requests whose login may be checked now.

    Args:
        app: Prefect's application.
        auth_string: The login, ``user:password``; empty if there is none.
    """

    def __init__(self, app: ASGIApp, auth_string: str) -> None:
        self._app = app
        self._auth_string = auth_string.encode()
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 429 in one sentence, or pass the request on."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket" and "prefect" in scope["subprotocols"]:
            await self._app(scope, self._first_message(scope, receive), send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = scope["state"]["visitor"]
        header = Headers(scope=scope).get("authorization")
        if not self._auth_string:
            visitor.is_known = True
        elif header is not None:
            if not visitor.is_known and not await self._guesses.turn(_client(scope)):
                sentence = "Too many wrong logins came from this address; try again in a moment"
                answer = JSONResponse({"exception_message": sentence}, 429, {"Retry-After": "2"})
                await answer(scope, receive, send)
                return
            login = _basic(header)
            if self._is_right(login):
                visitor.is_known = True
            else:
                self._guesses.note(_client(scope))
                if not login.isascii():
                    others = [header for header in scope["headers"] if header[0] != b"authorization"]
                    scope = {**scope, "headers": others}
        await self._app(scope, receive, send)

    def _is_right(self, login: bytes) -> bool:
        return hmac.compare_digest(login, self._auth_string)

    def _first_message(self, scope: Scope, receive: Receive) -> Receive:
        is_first = True

        async def receive_judged() -> Message:
            nonlocal is_first
            message = await receive()
            if not is_first or message["type"] != "websocket.receive":
                return message
            is_first = False
            return message if await self._may_be_judged(scope, message) else _WRONG

        return receive_judged

    async def _may_be_judged(self, scope: Scope, message: Message) -> bool:
        try:
            said: Any = json.loads(message.get("text") or "")
        except (ValueError, RecursionError):
            return False
        if not isinstance(said, dict):
            return False
        token: Any = cast("dict[str, Any]", said).get("token")
        if token is None or not self._auth_string:
            return True
        if not isinstance(token, str) or not await self._guesses.turn(_client(scope)):
            return False
        if not self._is_right(token.encode(errors="replace")):
            self._guesses.note(_client(scope))
        return token.isascii()


def _client(scope: Scope) -> str:
    return scope["client"][0] if scope["client"] else ""


def _basic(header: str) -> bytes:
    """Return ``user:password`` from a header; empty if it has none."""
    parts = header.split()
    try:
        return base64.b64decode(parts[1]) if len(parts) == 2 and parts[0] == "Basic" else b""
    except (binascii.Error, ValueError):
        return b""
