"""The client's address of a request that the platform's proxy forwards: login guesses count by address.

Whoever sends ``X-Forwarded-For`` may write into it what he likes, so it is believed only of the proxy, which
puts the address there that it was asked from. Its own is looked up, for it changes with its container.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

SECONDS = 5.0  # that an address is believed


class Forwarded:
    """An ASGI application that names the client of a request which the proxy passed on.

    Args:
        app: What is told.
        proxy: The proxy's host name; empty for none.
        clock: Tells the time in seconds.
    """

    def __init__(self, app: ASGIApp, proxy: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._proxy = proxy
        self._clock = clock
        self._addresses: set[str] = set()
        self._until = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the client's address where the proxy told it."""
        if self._proxy and scope["type"] in {"http", "websocket"}:
            address = _last(Headers(scope=scope))
            peer = scope["client"][0] if scope["client"] else ""
            if address and peer in await self._of_proxy():
                scope = {**scope, "client": (address, 0)}
        await self._app(scope, receive, send)

    async def _of_proxy(self) -> set[str]:
        if self._clock() >= self._until:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(self._proxy, None)
            except OSError:  # it is being made anew
                found = []
            self._addresses = {str(one[4][0]) for one in found}
            self._until = self._clock() + SECONDS
        return self._addresses


def _last(headers: Headers) -> str:
    """Return the address that was added last; nothing when it is none."""
    address = ", ".join(headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return ""
    return address
