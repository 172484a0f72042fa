"""Listens, serves a mock, and shuts down gracefully when told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from yeedu_mock.app import create_app
from yeedu_mock.control.anonymous_limits import IDLE_SECONDS, MAX_CONNECTIONS, MAX_HEAD_BYTES, PunctualHttp
from yeedu_mock.control.listener import Listener
from yeedu_mock.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from yeedu_mock.mock import Mock

MAX_FRAME_BYTES = 64 * 1024**2
SHUTDOWN_GRACE_SECONDS = 3


def bind(settings: Settings) -> Listener:
    """Return a socket that listens as the settings say; on ``::``, for IPv4 too.

    Raises:
        SettingsError: The address is taken, or not one of this machine's.
    """
    where = f"{settings.host}:{settings.port}"
    try:
        both = settings.host == "::" and socket.has_dualstack_ipv6()
        host = "0.0.0.0" if settings.host == "::" and not both else settings.host  # noqa: S104 - as was asked for
        addresses = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = addresses[0]
        made = socket.create_server(address[:2], family=family, backlog=128, dualstack_ipv6=both)
        listener = Listener(fileno=made.detach())
    except UnicodeError as error:
        raise SettingsError(
            f"--host (or YEEDU_MOCK_HOST) must be an address, not {settings.host!r}."
        ) from error
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {where}: {error.strerror}; "
            "give another --port (or YEEDU_MOCK_PORT), or 0 for a free one."
        ) from error
    # Connections inherit this. asyncio sets it only on sockets that were created with TCP's protocol number;
    # without it, a small answer on a kept-alive connection waits some 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket, settings: Settings) -> str:
    """Return the base URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"{settings.scheme}://[{host}]:{port}" if ":" in host else f"{settings.scheme}://{host}:{port}"


class MockServer(uvicorn.Server):
    """A uvicorn server that leaves signals alone.

    uvicorn raises a signal again after it has shut down, so a graceful shutdown would exit with code 143.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture nothing; `serve` below does."""
        yield


def _is_about_more_than_a_refusal(record: logging.LogRecord) -> bool:
    """Tell whether to keep a record; uvicorn logs an error for every websocket refused with a body."""
    return record.msg != "ASGI callable returned without completing handshake."


def new_server(mock: Mock, listener: Listener) -> MockServer:
    """Return a server for a mock, not yet serving."""
    listener.switches = mock.control.switches
    # uvicorn's own log holds websocket paths, and those hold tokens.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_about_more_than_a_refusal)
    return MockServer(
        uvicorn.Config(
            create_app(mock),
            log_config=None,
            access_log=False,
            server_header=False,
            http=PunctualHttp,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
            ws="websockets-sansio",
            ws_max_size=MAX_FRAME_BYTES,  # for clients with a session: others are refused before a frame
            timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
            ssl_certfile=mock.settings.tls_certificate,
            ssl_keyfile=mock.settings.tls_key,
        )
    )


def serve(mock: Mock, listener: Listener) -> None:
    """Serve until SIGTERM or SIGINT, then end every job and kernel."""
    server = new_server(mock, listener)

    def stop(*_: object) -> None:
        server.should_exit = True

    async def run() -> None:
        with _signals(stop):
            await server.serve(sockets=[listener])

    asyncio.run(run())


@contextlib.contextmanager
def _signals(handler: Callable[..., None]) -> Generator[None, None, None]:
    previous = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
