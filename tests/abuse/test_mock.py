"""The mock of Yeedu: what somebody who reaches its port may read, and what that costs it, without a login."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from tests.abuse.floods import answer, flood

HANDSHAKE = (
    "GET /api/v1/workspace/1/notebook/run/1/kernel/ws/yeedu_session/guessed HTTP/1.1\r\nHost: localhost\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FRAME = b"\x01\xff" + (3_000_000).to_bytes(8, "big") + bytes(4) + bytes(3_000_000)
LOGIN = "POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@dataclass
class Mock:
    """The mock, as a process of its own."""

    port: int
    process: psutil.Process

    def send(self, lines: str) -> str:
        """Send a request as it is written here, and return the whole answer."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(lines.replace("\n", "\r\n").encode() + b"Connection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def is_healthy(self) -> bool:
        """Ask it as its container's check does."""
        return requests.get(f"http://localhost:{self.port}/healthCheck", timeout=60).status_code == 200


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    state = tmp_path_factory.mktemp("mock")
    command = [str(Path(sys.executable).with_name("yeedu-mock")), "--port=0", f"--state-directory={state}"]
    with (
        (state / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        port = re.search(r":(\d+)", process.stdout.readline())
        assert port, (state / "log").read_text()
        yield Mock(int(port[1]), psutil.Process(process.pid))
        process.terminate()


FOREIGN = [
    "Host: attacker.example",
    "Host: localhost.attacker.example:8088",
    "Host: 127.0.0.1.attacker.example",
    "Host: attacker.example\nX-Forwarded-Host: localhost",
    "Host: localhost, attacker.example",
    "Host: ",
]
OWN = ["localhost:8088", "127.0.0.1", "[::1]:8088", "yeedu-mock:8080", "a.localhost"]


@pytest.mark.tries("reads the mock's pages from a web page whose name leads to this machine")
@pytest.mark.parametrize("host", FOREIGN)
def test_no_page_is_answered_under_a_foreign_name(mock: Mock, host: str) -> None:
    for path in ("/", "/docs", "/openapi.json", "/healthCheck", "/sso", "/api/v1/login/auth_type", "/none"):
        told = mock.send(f"GET {path} HTTP/1.1\n{host}\n")
        assert told.startswith("HTTP/1.1 403"), told
        assert "is not a name of this mock" in told
    told = mock.send(HANDSHAKE.removesuffix("\r\n").replace("\r\n", "\n").replace("Host: localhost", host))
    assert "is not a name of this mock" in told
    for name in OWN:  # so that those fail because of their names
        assert mock.send(f"GET /healthCheck HTTP/1.1\nHost: {name}\n").startswith("HTTP/1.1 200")


@pytest.mark.tries(
    "reads jobs, runs and logs on the mock's pages without a session",
    admits="its pages show jobs, runs and logs to whoever reaches its port",
)
def test_pages_ask_for_no_session(mock: Mock) -> None:
    assert "hello-job" in mock.send("GET / HTTP/1.1\nHost: localhost\nAccept: application/json\n")


@pytest.mark.tries(
    "fills the mock's memory with what it has not asked for, over sixty connections without a login"
)
@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 3_000_000,
        b"GET /" + b"a" * 3_000_000,
        f"{LOGIN}Content-Length: 3000000\r\n\r\n".encode() + b"[" * 3_000_000,
        f"{LOGIN}Transfer-Encoding: chunked\r\n\r\n2dc6c0\r\n".encode() + b"[" * 3_000_000,
        HANDSHAKE.encode() + FRAME,
    ],
    ids=["header", "address", "body", "chunked body", "websocket frame"],
)
def test_a_strangers_connection_costs_some_kilobytes(mock: Mock, sent: bytes) -> None:
    before = mock.process.memory_info().rss
    with flood(mock.port, 60, sent) as connections:
        assert mock.process.memory_info().rss - before < 40_000_000
        assert mock.is_healthy()
        answers = [answer(connection) for connection in connections]
    assert {text.split()[1] for text in answers if text} <= {b"400", b"403", b"413"}
    assert mock.process.is_running()


@pytest.mark.tries("holds as many connections to the mock open as it takes, and asks nothing")
@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "], ids=["nothing", "half a head"]
)
def test_silent_connections_make_room_for_others(mock: Mock, sent: bytes) -> None:
    with flood(mock.port, 600, sent) as connections:
        assert mock.is_healthy()
        assert answer(connections[0]) == b""
        held = [one for one in mock.process.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
        assert len(held) <= 300


@pytest.mark.tries("makes the mock keep long addresses of requests in its log")
def test_a_log_line_has_a_bound(mock: Mock) -> None:
    assert "404" in mock.send(f"GET /{'a' * 60_000} HTTP/1.1\nHost: localhost\n")
    log = mock.process.cmdline()[-1].partition("=")[2]
    assert max(map(len, (Path(log) / "log").read_text().splitlines())) < 3000
