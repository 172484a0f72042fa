"""Where the server listens, asked over IPv4 and IPv6."""

import errno
import socket
from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest
from listeners import bound_sockets

from tests.platforms import free_port


@contextmanager
def listening(host: str, port: int) -> Generator[None]:
    sockets = bound_sockets(host, port)
    try:
        for one in sockets:
            one.listen()
        yield
    finally:
        for one in sockets:
            one.close()


def answering(port: int) -> set[str]:
    found: set[str] = set()
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, port), timeout=60).close()
        except ConnectionRefusedError:
            continue
        found.add(address)
    return found


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("::", {"127.0.0.1", "::1"}),
        ("127.0.0.1", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
    ],
)
def test_every_address_of_both_families_is_served_at_the_double_colon(host: str, reached: set[str]) -> None:
    port = free_port()
    with listening(host, port):
        assert answering(port) == reached


@pytest.mark.parametrize("absent", [socket.AF_INET6, socket.AF_INET])
def test_a_kernel_without_one_family_is_served_by_the_other(
    absent: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Socket(socket.socket):
        def __init__(self, family: int = -1, *arguments: int) -> None:
            if family == absent:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *arguments)

    port = free_port()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Socket)
        (bound,) = bound_sockets("::", port)
    with bound:
        bound.listen()
        assert answering(port) == {"127.0.0.1" if absent == socket.AF_INET6 else "::1"}


def test_a_port_that_is_taken_on_one_family_is_not_shared_in_silence() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as other,
        pytest.raises(OSError, match="Address already in use"),
    ):
        bound_sockets("::", other.getsockname()[1])
