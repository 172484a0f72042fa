"""The guard between web pages and the API, in front of a small application on a real port."""

import http.client
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import uvicorn
import websocket
from guard import Guard
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from attach.checks import WRONG, check_server
from attach.server import Server
from tests.platforms import wait_for


async def answer(request: Request) -> Response:
    return PlainTextResponse("data")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("data")
    await socket.close()


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    text: str


class Client:
    """Sends exactly the headers that it is given."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answered = connection.getresponse()
        text = answered.read().decode()
        connection.close()
        return Answer(answered.status, answered.headers, text)

    def get(self, path: str, headers: dict[str, str]) -> Answer:
        return self.request("GET", path, headers)

    def first_message(self, host: str, origin: str | None) -> str:
        socket = websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/api/events/in",
            host=host,
            origin=origin,
            suppress_origin=origin is None,
            timeout=60,
        )
        message = str(socket.recv())
        socket.close()
        return message


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    routes = [
        Route("/api/flows", answer, methods=["GET", "POST"]),
        Route("/runs", answer),
        Route("/docs", answer),
        WebSocketRoute("/api/events/in", talk),
    ]
    guard = Guard(
        Starlette(routes=routes),
        allowed_hosts=[
            *("prefect.example.com", " *.corp.example ", "", "host.docker.internal:8080"),
            *("http://with.scheme.example", "https://With.Path.example:8443/api", "*.ports.example:8080"),
        ],
        ui_url="https://flows.example.org/prefect",
    )
    server = uvicorn.Server(uvicorn.Config(guard, port=0, log_level="warning", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for("started server", lambda: server.started, 60, 0.01)
    yield Client(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LOCALHOST:8080", "server:4200", "ui.localhost:8080"),
        *("127.0.0.1:8080", "[::1]:8080", "192.0.2.7"),
        *("prefect.example.com", "prefect.example.com:8443", "build.corp.example", "flows.example.org"),
        *("host.docker.internal:8080", "host.docker.internal", "with.scheme.example:80", "a.ports.example"),
        "with.path.example:8443",
    ],
)
def test_names_of_the_server_are_answered(client: Client, host: str) -> None:
    assert client.get("/api/flows", {"Host": host}).text == "data"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "attacker.example",
            "attacker.example:8080",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
        ),
        *(
            "corp.example",
            "evilcorp.example",
            "prefect.example.com.attacker.example",
            "localhost@attacker.example",
        ),
        *("", "[::1", "a b.example"),
    ],
)
def test_rebound_names_are_refused_with_what_to_do(client: Client, host: str) -> None:
    for path in ("/api/flows", "/runs"):
        refused = client.get(path, {"Host": host})
        assert refused.status == 403
        assert "PREFECT_ALLOWED_HOSTS" in refused.text
        assert "data" not in refused.text


@pytest.mark.parametrize(
    "origin",
    [
        *("http://attacker.example", "http://localhost:8088", "http://localhost", "null"),
        *("https://flows.example.org.attacker.example", "http://localhost:8080.attacker.example"),
    ],
)
def test_pages_of_other_origins_can_neither_read_nor_write(client: Client, origin: str) -> None:
    headers = {"Host": "localhost:8080", "Origin": origin}
    for method in ("GET", "POST", "OPTIONS"):
        refused = client.request(method, "/api/flows", headers)
        assert refused.status == 403, method
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "origin", ["http://localhost:8080", "https://localhost:8080", "https://flows.example.org"]
)
def test_own_pages_may_write(client: Client, origin: str) -> None:
    headers = {"Host": "localhost:8080", "Origin": origin}
    assert client.request("POST", "/api/flows", headers).text == "data"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_silent_requests_of_other_sites_never_reach_the_api(client: Client, site: str) -> None:
    headers = {"Host": "localhost:8080", "Sec-Fetch-Site": site}
    assert client.get("/api/flows", headers).status == 403
    assert client.get("/runs", headers).text == "data", "a link to the UI works from anywhere"


@pytest.mark.parametrize(
    ("host", "origin"),
    [("attacker.example:8080", None), ("localhost:8080", "http://attacker.example")],
)
def test_websockets_are_guarded_too(client: Client, host: str, origin: str | None) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        client.first_message(host, origin)


@pytest.mark.parametrize(
    ("host", "origin"), [("server:4200", None), ("localhost:8080", "http://localhost:8080")]
)
def test_websockets_of_programs_and_own_pages_are_open(client: Client, host: str, origin: str | None) -> None:
    assert client.first_message(host, origin) == "data"


@pytest.mark.parametrize("origin", ["http://[evil", "http://[::1", "http://]", "//", "http://", "\xe9"])
def test_malformed_origin_is_refused_as_any_other(
    client: Client, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused = client.get("/api/flows", {"Host": "localhost:8080", "Origin": origin})
    assert refused.status == 403
    assert refused.text.count("\n") == 1
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        client.first_message("localhost:8080", origin)
    assert "Traceback" not in caplog.text


def test_own_address_behind_a_proxy_is_named_with_its_remedy(client: Client) -> None:
    refused = client.get("/runs", {"Host": "server:4200", "Origin": "https://prefect.of.the.proxy"})
    assert "set PREFECT_UI_URL to it and restart the server" in refused.text


def test_what_the_sentence_shows_can_be_set_as_it_is() -> None:
    asked = Headers({"host": "build.example:4200"}), "/api"
    guard: Any = Guard(Starlette())
    shown = guard._refusal(*asked).split("'")[1]
    guard = Guard(Starlette(), [shown])
    assert guard._refusal(*asked) == ""


def test_attached_worker_under_an_unknown_name_is_told_the_guards_own_sentence(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def find(host: str, port: int, *more: Any) -> Any:
        return real("127.0.0.1", port, *more)

    monkeypatch.setattr(socket, "getaddrinfo", find)
    name = f"build.example:{client.port}"
    finding = check_server(Server(f"http://{name}/api"))
    assert (finding.status, finding.text) == (
        WRONG,
        f"http://{name}/api answered 403: '{name}' is not a name of this server; "
        "if it should be one, add it to PREFECT_ALLOWED_HOSTS and restart the server",
    )


def test_page_that_runs_code_of_others_is_refused(client: Client) -> None:
    refused = client.get("/docs", {"Host": "localhost"})
    assert refused.status == 404
    assert "/openapi.json describes the API" in refused.text


@pytest.mark.parametrize(
    ("path", "host"),
    [("/runs", "localhost"), ("/docs", "localhost"), ("/runs", "attacker.example"), ("/no", "a")],
)
def test_no_answer_lets_its_page_ask_anybody_else(client: Client, path: str, host: str) -> None:
    policy = client.get(path, {"Host": host}).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "; script-src 'self' 'unsafe-eval'; " in policy, "no code that stands in the page"
    assert not re.search(r"https?:|\*", policy)


def test_answers_keep_pages_out_of_frames(client: Client) -> None:
    headers = client.get("/runs", {"Host": "localhost"}).headers
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["X-Content-Type-Options"] == "nosniff"
