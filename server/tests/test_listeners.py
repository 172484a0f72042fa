"""Where the server listens, asked over IPv4 and IPv6."""

import errno
import socket
from contextlib import closing

import pytest
from listeners import listeners

from tests.platforms import free_port


def answering(port: int) -> set[str]:
    found: set[str] = set()
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, port), timeout=5).close()
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
    sockets = listeners(host, port)
    try:
        assert answering(port) == reached
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)
    finally:
        for one in sockets:
            one.close()


@pytest.mark.parametrize("absent", [socket.AF_INET6, socket.AF_INET])
def test_a_kernel_without_one_family_is_served_by_the_other(
    absent: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = socket.create_server

    def create(address: tuple[str, int], *, family: int) -> socket.socket:
        if family == absent:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(address, family=family)

    monkeypatch.setattr(socket, "create_server", create)
    port = free_port()
    (listener,) = listeners("::", port)
    with listener:
        assert answering(port) == {"127.0.0.1" if absent == socket.AF_INET6 else "::1"}


def test_a_port_that_is_taken_on_one_family_is_not_shared_in_silence() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other, pytest.raises(OSError, match="in use"):
        listeners("::", other.getsockname()[1])
