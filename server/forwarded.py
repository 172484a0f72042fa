"""Finds the client's address of a request that the platform's proxy forwards: login guesses count by address.

Any client may write what it likes into ``X-Forwarded-For``, so only the proxy's is believed, which holds the
address that the request came from. The proxy's own address is looked up, as it changes with its container.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

SECONDS = 5.0  # for which a looked-up address is used


class Forwarded:
    """An ASGI application that sets the client of a request which the proxy forwards.

    Args:
        app: The application that gets the request.
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
        """Pass a request on, with the client's address if the proxy gives it."""
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
            except OSError:  # its container is being recreated
                found = []
            self._addresses = {str(one[4][0]) for one in found}
            self._until = self._clock() + SECONDS
        return self._addresses


def _last(headers: Headers) -> str:
    """Return the address that was added last; an empty string if it is not one."""
    address = ", ".join(headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return ""
    return address
