"""What a stranger can do to the server through the port at which it is reached: very little."""

import base64
import contextlib
import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import websocket

from tests.platforms import wait_for
from tests.prefect_process import PrefectProcess

SERVER = Path(__file__).parents[2] / "server"
USER, PASSWORD = "admin", "canary-of-the-login"
# As in the platform, but for the seconds that a stranger has to speak, or for those that a guess costs: more
# than a busy machine needs for an answer. No guess is free again while a test lasts.
SERVE = f"import sys; sys.path.insert(0, {str(SERVER)!r}); import connection_limits, login, serve; "
SECONDS_TO_SPEAK = 5
PAUSE_SECONDS, SECONDS_FOR_ONE = 10, 3600
MEGABYTE = 1 << 20
MAX_GROWTH = 100 * MEGABYTE  # of the server's memory, of which it has a gigabyte

UPGRADE = (
    b"GET /api/events/in HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: prefect\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Server(PrefectProcess):
    """The server, and what is done to it byte by byte."""

    def memory(self) -> int:
        """Return the most bytes of memory that it has had."""
        assert self._process
        [line] = [
            line
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
            if line.startswith("VmHWM:")
        ]
        return int(line.split()[1]) * 1024

    def count_flows(self, source: str = "127.0.0.1") -> float:
        """Ask something as a worker does, from an address of this machine, and return how long that took."""
        began = time.monotonic()
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        asked = http.client.HTTPConnection("127.0.0.1", self.port, 60, (source, 0))
        with contextlib.closing(asked) as connection:
            connection.request("POST", "/api/flows/count", headers={"Authorization": f"Basic {token}"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"0")
        return time.monotonic() - began

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    @contextlib.contextmanager
    def crowd(self, number: int) -> Iterator[list[socket.socket]]:
        """Have so many connections for a while."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.connect()) for _ in range(number)]


@contextlib.contextmanager
def running(home: Path, difference: str, **more: str) -> Iterator[Server]:
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": f"{USER}:{PASSWORD}",
        "PREFECT_API_AUTH_STRING": f"{USER}:{PASSWORD}",
        "PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START": "false",
        **more,
    }
    server = Server(home, settings, ["-c", f"{SERVE}{difference}; serve.main()"])
    try:
        server.start()
        server.count_flows()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    difference = f"connection_limits.SECONDS_TO_SPEAK = {SECONDS_TO_SPEAK}"
    with running(tmp_path_factory.mktemp("abused"), difference) as server:
        yield server


@pytest.fixture(scope="module")
def guessed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server at which guesses cost more, of which none is free again."""
    difference = f"login.PAUSE_SECONDS, login.SECONDS_FOR_ONE = {PAUSE_SECONDS}, {SECONDS_FOR_ONE}"
    kept = {"PREFECT_SERVER_API_KEEPALIVE_TIMEOUT": "600"}  # a connection that has logged in
    with running(tmp_path_factory.mktemp("guessed"), difference, **kept) as server:
        yield server


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each attack the same process answers, and has neither grown much nor failed in its log."""
    server: Server = request.getfixturevalue("guessed" if "guessed" in request.fixturenames else "server")
    before, said = server.memory(), len(server.log())
    yield
    server.count_flows()
    assert server._process
    assert server._process.poll() is None
    assert server.memory() - before < MAX_GROWTH
    assert "Traceback" not in server.log()[said:]


def send(connection: socket.socket, data: bytes, most: int) -> int:
    """Send data again and again, until the server wants no more or it was a lot; return how much went."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            connection.sendall(data)
            sent += len(data)
    return sent


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server has closed a connection, whatever it says before."""
    connection.settimeout(60)
    try:
        while connection.recv(MEGABYTE):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def masked(opcode: int, data: bytes, length: int | None = None) -> bytes:
    """Return a websocket's frame, or the beginning of a longer one."""
    long = len(data) if length is None else length
    return struct.pack(">BBQ4x", opcode, 0xFF, long) + data


PARTS = {
    "a websocket's frame of 15 MB": lambda: (
        UPGRADE,
        masked(0x01, b"A" * MEGABYTE, 15_000_000),
        b"A" * MEGABYTE,
    ),
    "a websocket's message of many frames": lambda: (UPGRADE, masked(0x01, b""), masked(0x00, b"A" * 60_000)),
    "a websocket's pings, whose answers nobody reads": lambda: (UPGRADE, b"", masked(0x89, b"A" * 100) * 600),
    "a websocket's empty messages": lambda: (UPGRADE, b"", masked(0x81, b"") * 5000),
    "a header line": lambda: (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"", b"a" * MEGABYTE),
    "header lines": lambda: (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"", b"a: b\r\n" * 10_000),
    "an address": lambda: (b"GET /", b"", b"a" * MEGABYTE),
    "trailers": lambda: (
        b"POST /api/flows/count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"",
        b"a" * MEGABYTE,
    ),
    "a chunk's extension": lambda: (
        b"POST /api/flows/count HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;a=",
        b"",
        b"a" * MEGABYTE,
    ),
    "requests in line": lambda: (b"", b"", b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000),
}


@pytest.mark.tries("sends what never ends over dozens of connections, without a login")
@pytest.mark.parametrize("what", PARTS)
def test_endless_input_of_strangers_is_cut_off(server: Server, what: str) -> None:
    """A few dozen connections without a login filled the server's memory within two seconds."""
    first, then, again = PARTS[what]()
    with contextlib.ExitStack() as stack:
        connections: list[socket.socket] = []
        for _ in range(40):  # each speaks as soon as it is there, or would be sent away for its silence
            connection = stack.enter_context(server.connect())
            connections.append(connection)
            connection.sendall(first)
            if first == UPGRADE:
                assert b" 101 " in connection.recv(4096)
            with contextlib.suppress(OSError):
                connection.sendall(then)
            assert send(connection, again, 15_000_000) < 12_000_000, "the server read all of it"
        assert all(is_closed(connection) for connection in connections)


@pytest.mark.tries("asks for half a megabyte on each connection, and does not read it")
def test_answers_that_strangers_do_not_read_are_not_kept_for_all_of_them(server: Server) -> None:
    """Half a megabyte lay in memory for each connection that asked for it and did not read on."""
    with server.crowd(600) as connections:
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        server.count_flows()


@pytest.mark.tries("connects, and does not say who it is")
@pytest.mark.parametrize("said", [b"", UPGRADE], ids=["idle", "websocket"])
def test_stranger_that_says_nothing_is_sent_away(server: Server, said: bytes) -> None:
    """A websocket stayed open for ever, and so did any connection, without a word of who was there."""
    began = time.monotonic()
    with server.connect() as connection:
        connection.sendall(said)
        assert is_closed(connection)
        assert time.monotonic() - began > SECONDS_TO_SPEAK - 1


@pytest.mark.tries("sends a request's head a byte at a time")
def test_head_that_comes_a_byte_at_a_time_is_not_waited_for(server: Server) -> None:
    """A request's head, a byte at a time, might take as long as it liked."""
    with server.connect() as connection:
        connection.settimeout(0.2)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 20 * SECONDS_TO_SPEAK:
                connection.sendall(b"G")
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        break
        assert time.monotonic() - began < 12 * SECONDS_TO_SPEAK


@pytest.mark.tries("takes so many connections that no worker gets one")
def test_crowd_of_strangers_keeps_no_worker_out(server: Server) -> None:
    """However many connections there are, whoever has the login gets in; the first strangers make room."""
    with server.crowd(1200) as crowd:
        server.count_flows()
        for connection in crowd[:200]:
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""


@pytest.mark.tries("has the limits on strangers cut off who has logged in")
def test_worker_that_is_let_in_is_not_sent_away(server: Server) -> None:
    """What bounds strangers must not cost those who have logged in: large messages, and a long silence."""
    url = f"ws://127.0.0.1:{server.port}/api/events/in"
    worker = websocket.create_connection(url, subprotocols=["prefect"], timeout=60)
    worker.send(json.dumps({"type": "auth", "token": f"{USER}:{PASSWORD}"}))
    assert json.loads(worker.recv()) == {"type": "auth_success"}
    event = {
        "occurred": "2026-01-01T00:00:00Z",
        "event": "large",
        "resource": {"prefect.resource.id": "of.the.test"},
        "payload": {"text": "A" * MEGABYTE},
        "id": "01a2a4c8-0000-7000-8000-000000000001",
    }
    with server.crowd(1100) as crowd:
        worker.send(json.dumps(event))
        assert all(is_closed(connection) for connection in crowd), (
            "after their time, in which the worker is silent"
        )
    worker.send(json.dumps({**event, "id": "01a2a4c8-0000-7000-8000-000000000002"}))

    def stored() -> int:
        body = {"filter": {"event": {"name": ["large"]}, "occurred": {"since": "2025-01-01T00:00:00Z"}}}
        answer = requests.post(f"{server.url}/events/filter", json=body, auth=(USER, PASSWORD), timeout=60)
        return answer.json()["total"]

    wait_for("both events", lambda: stored() == 2, 60)
    worker.close()


@pytest.mark.tries("sends more than the server can hold")
def test_request_larger_than_the_server_can_hold_is_refused(server: Server) -> None:
    """A body was read into memory, whatever its size."""
    auth = (USER, PASSWORD)
    url = f"{server.url}/variables/"
    told = requests.post(url, data=b"x" * 17 * MEGABYTE, auth=auth, timeout=60)
    parts = (b"x" * MEGABYTE for _ in range(17))
    untold = requests.post(
        url, data=parts, auth=auth, timeout=60, headers={"Content-Type": "application/json"}
    )
    for answer in (told, untold):
        assert (answer.status_code, answer.json()) == (
            413,
            {"exception_message": "A request may have 16 MiB at most"},
        )


@pytest.mark.tries("names an Origin that is no address")
@pytest.mark.parametrize("origin", ["http://[evil", "http://[::1", "//[", "null", "http://a@[b"])
def test_malformed_origin_is_refused_in_one_sentence(server: Server, origin: str) -> None:
    """A malformed Origin was answered with 500, and twenty lines of traceback in the log."""
    answer = requests.get(f"{server.url}/health", headers={"Origin": origin}, timeout=60)
    assert (answer.status_code, answer.text.count("\n")) == (403, 1)


FIRST_MESSAGES = {
    "no JSON": "}{",
    "a list": "[]",
    "a number": "17",
    "no type": '{"a": 1}',
    "no ASCII": json.dumps({"type": "auth", "token": "é"}),
    "half a character": '{"type": "auth", "token": "\\ud800"}',
    "a number for a token": '{"type": "auth", "token": 17}',
    "a list for a token": '{"type": "auth", "token": ["a"]}',
    "deep": "[" * 20_000,
    "bytes": b"\x00\xff",
}


@pytest.mark.tries("logs in to a websocket with what is no login")
@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled"])
def test_malformed_login_of_a_websocket_is_refused_without_a_traceback(server: Server, path: str) -> None:
    """A first message that is no proper login left a traceback in the log each time."""
    for what, message in FIRST_MESSAGES.items():
        address = f"ws://127.0.0.1:{server.port}/api/{path}"
        client = websocket.create_connection(address, subprotocols=["prefect"], timeout=60)
        client.send(message, websocket.ABNF.OPCODE_BINARY if isinstance(message, bytes) else 0x1)
        frame = client.recv_frame()
        assert isinstance(frame.data, bytes)
        assert (frame.opcode, int.from_bytes(frame.data[:2])) == (websocket.ABNF.OPCODE_CLOSE, 1008), what
        client.shutdown()


@pytest.mark.tries("logs in with what is no ASCII")
@pytest.mark.parametrize("login", ["admin:é".encode(), b"\xff\xfe", b"", b"admin"])
def test_login_that_is_no_ascii_is_a_wrong_one(server: Server, login: bytes) -> None:
    """A password with an umlaut was answered with 500."""
    header = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
    assert requests.get(f"{server.url}/variables/name/a", headers=header, timeout=60).status_code == 401


@pytest.mark.tries("guesses the login as fast as it can")
def test_guesses_are_slow_and_nobody_else_waits_for_them(guessed: Server) -> None:
    """Thousands of logins a second could be tried, without an end."""
    with requests.Session() as known, requests.Session() as guessing:
        url = f"{guessed.url}/flows/count"
        assert known.post(url, auth=(USER, PASSWORD), timeout=60).status_code == 200
        for guess in range(10):
            guessing.post(url, auth=(USER, f"guess-{guess}"), timeout=60)
            known.post(url, auth=(USER, PASSWORD), timeout=60)
        began = time.monotonic()
        for guess in range(2):
            assert guessing.post(url, auth=(USER, f"more-{guess}"), timeout=60).status_code == 401
            assert known.post(url, auth=(USER, PASSWORD), timeout=60).elapsed.total_seconds() < PAUSE_SECONDS
        assert time.monotonic() - began >= 2 * PAUSE_SECONDS
        assert PAUSE_SECONDS <= guessed.count_flows() < 2 * PAUSE_SECONDS, (
            "even from the same address the right one waits for one pause alone"
        )
        assert guessed.count_flows("127.0.0.2") < PAUSE_SECONDS


@pytest.mark.tries("guesses the login over many connections at once")
def test_every_stranger_of_a_crowd_of_guessers_has_to_wait(guessed: Server) -> None:
    """With many connections at once, a guess is no cheaper: some wait, and the others have to come again."""
    wrong = base64.b64encode(b"admin:wrong").decode()
    request = f"GET /api/variables/name/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {wrong}\r\n\r\n"
    with guessed.crowd(300) as crowd:
        for connection in crowd:
            connection.sendall(request.encode())
        answers = [connection.recv(4096).split()[1] for connection in crowd]
    assert set(answers) <= {b"401", b"429"}
    assert answers.count(b"429") >= 150
