"""Whose request it is, where one comes through the proxy."""

import asyncio
from typing import Any

import pytest
from forwarded import SECONDS, Forwarded
from starlette.types import Receive, Scope, Send

CLIENT = "192.0.2.7"


def told(forwarded: Forwarded, seen: list[Any], peer: str | None, *headers: str, kind: str = "http") -> Any:
    """Return the client that the application is told."""
    named = [(b"x-forwarded-for", one.encode()) for one in headers]
    scope = {"type": kind, "headers": named, "client": (peer, 1) if peer else None}
    asyncio.run(forwarded(scope, None, None))  # type: ignore[arg-type]
    return seen[-1][0] if seen[-1] else None


def of(proxy: str, clock: Any = None) -> tuple[Forwarded, list[Any]]:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"])

    return Forwarded(app, proxy, *([clock] if clock else [])), seen


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("127.0.0.1", [CLIENT], CLIENT),
        ("127.0.0.1", [f"10.0.0.1, {CLIENT}"], CLIENT),  # what a client claims comes before what is so
        ("127.0.0.1", ["10.0.0.1", CLIENT], CLIENT),
        ("127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("198.51.100.1", [CLIENT], "198.51.100.1"),  # a container that is not the proxy
        (None, [CLIENT], None),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_client_is_whom_the_proxy_names(kind: str, peer: str, headers: list[str], client: str) -> None:
    forwarded, seen = of("localhost")
    assert told(forwarded, seen, peer, *headers, kind=kind) == client


@pytest.mark.parametrize("proxy", ["", "no-such-proxy.invalid"])
def test_without_a_proxy_nobody_is_believed(proxy: str) -> None:
    forwarded, seen = of(proxy)
    assert told(forwarded, seen, "127.0.0.1", CLIENT) == "127.0.0.1"


def test_proxy_may_come_by_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    now, address = [0.0], ["198.51.100.1"]

    async def look_up(self: Any, host: str, port: None) -> list[Any]:
        assert host == "proxy"
        return [(0, 0, 0, "", (address[0], 0))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", look_up)
    forwarded, seen = of("proxy", lambda: now[0])
    assert told(forwarded, seen, "198.51.100.1", CLIENT) == CLIENT
    address[0] = "198.51.100.2"
    assert told(forwarded, seen, "198.51.100.2", CLIENT) == "198.51.100.2"
    now[0] += SECONDS
    assert told(forwarded, seen, "198.51.100.2", CLIENT) == CLIENT
    assert told(forwarded, seen, "198.51.100.1", CLIENT) == "198.51.100.1"
