"""Requests as a hostile page, or a program that it found to send them, would make them: byte for byte.

All of them carry the login, as a browser adds it on its own once its user has logged in.
"""

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
import requests
import websocket

from proxy.tests.running import running
from server.tests.conftest import AUTH_STRING, LOGIN
from tests.prefect_process import PrefectProcess

FOREIGN = "Origin: http://attacker.example"
PLANT = json.dumps({"name": "planted", "value": "by an attacker"})
AUTHORIZATION = f"Authorization: Basic {base64.b64encode(AUTH_STRING.encode()).decode()}"


class Answer(NamedTuple):
    status: int
    head: str
    body: str


class Server:
    """The server, and bytes sent to it as they are."""

    def __init__(self, port: int, *, is_proxied: bool) -> None:
        self.port = port
        self.is_proxied = is_proxied
        self.host = f"localhost:{port}"
        self.url = f"http://{self.host}/api"

    def send(self, line: str, *headers: str, body: str = "") -> Answer:
        """Send a request line and headers, with a login; ``HOST`` stands for this server's name."""
        whole = [line, *headers, AUTHORIZATION, "Connection: close", f"Content-Length: {len(body)}", "", body]
        with socket.create_connection(("127.0.0.1", self.port), timeout=90) as connection:
            connection.sendall("\r\n".join(whole).replace("HOST", self.host).encode())
            answered = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        head, _, text = answered.partition("\r\n\r\n")
        return Answer(int(head.split()[1]), head.lower(), text)

    def variables(self) -> dict[str, str]:
        found = requests.post(f"{self.url}/variables/filter", json={}, auth=LOGIN, timeout=90).json()
        return {variable["name"]: variable["value"] for variable in found}


@pytest.fixture(scope="module", params=["itself", pytest.param("proxy", marks=pytest.mark.caddy)])
def server(
    closed_server: PrefectProcess, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The server, itself and through the proxy, with a variable that is to stay as it is."""
    kept = {"name": "kept", "value": "as it was"}
    with ExitStack() as stack:
        port = closed_server.port
        if request.param == "proxy":
            proxy = running(tmp_path_factory.mktemp("proxy"), PROXY_UPSTREAM=f"127.0.0.1:{port}")
            port = stack.enter_context(proxy).port
        server = Server(port, is_proxied=port != closed_server.port)
        requests.post(f"{server.url}/variables/", json=kept, auth=LOGIN, timeout=90).raise_for_status()
        yield server
        requests.delete(f"{server.url}/variables/name/kept", auth=LOGIN, timeout=90).raise_for_status()


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json",
        "",  # what a page sends of a Blob without a type; Prefect takes it for JSON
    ],
)
@pytest.mark.parametrize("origin", [FOREIGN, "Origin: null", "Sec-Fetch-Site: cross-site"])
def test_post_of_a_foreign_page_changes_nothing(server: Server, kind: str, origin: str) -> None:
    headers = ["Host: HOST", origin, *([f"Content-Type: {kind}"] if kind else [])]
    assert server.send("POST /api/variables/ HTTP/1.1", *headers, body=PLANT).status == 403
    assert "planted" not in server.variables()


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        # The name that was asked for is said elsewhere as well.
        ("POST /api/variables/ HTTP/1.1", ["Host: attacker.example", "X-Forwarded-Host: HOST"]),
        ("POST /api/variables/ HTTP/1.1", ["Host: attacker.example", "Forwarded: host=HOST"]),
        ("POST /api/variables/ HTTP/1.1", ["Host: attacker.example", "X-Original-Host: HOST"]),
        ("POST http://HOST/api/variables/ HTTP/1.1", ["Host: attacker.example"]),
        # It is said twice, or not at all.
        ("POST /api/variables/ HTTP/1.1", ["Host: HOST", "Host: attacker.example"]),
        ("POST /api/variables/ HTTP/1.1", ["Host: attacker.example", "Host: HOST"]),
        ("POST /api/variables/ HTTP/1.1", ["Host: HOST, attacker.example"]),
        ("POST /api/variables/ HTTP/1.1", []),
        ("POST /api/variables/ HTTP/1.0", []),
        # The page's origin is said twice, or claims to be a part of this server's.
        ("POST /api/variables/ HTTP/1.1", ["Host: HOST", "Origin: http://HOST", FOREIGN]),
        ("POST /api/variables/ HTTP/1.1", ["Host: HOST", FOREIGN, "Origin: http://HOST"]),
        ("POST /api/variables/ HTTP/1.1", ["Host: HOST", "Origin: http://HOST.attacker.example"]),
        ("POST /api/variables/ HTTP/1.1", ["Host: HOST", "Origin: http://HOST@attacker.example"]),
        ("POST /api/variables/ HTTP/1.1", ["Host: HOST", "Origin: http://attacker.example/HOST"]),
        ("POST http://HOST/api/variables/ HTTP/1.1", ["Host: HOST", FOREIGN]),
        # Another path for those who look at its beginning.
        ("POST /%61pi/variables/ HTTP/1.1", ["Host: HOST", "Sec-Fetch-Site: cross-site"]),
        ("POST /x HTTP/1.1", ["Host: HOST", FOREIGN, "X-Original-URL: /api/variables/"]),
        ("POST /x HTTP/1.1", ["Host: HOST", FOREIGN, "X-Rewrite-URL: /api/variables/"]),
    ],
)
def test_odd_request_is_refused(server: Server, line: str, headers: list[str]) -> None:
    if server.is_proxied and line.startswith("POST http:") and len(headers) == 1:
        return  # of two hosts HTTP lets the address count; no browser asks a server so
    answer = server.send(line, *headers, "Content-Type: application/json", body=PLANT)
    assert answer.status in {400, 403}
    assert "planted" not in server.variables()


@pytest.mark.parametrize(
    "path", ["//api/variables/name/kept", "/./api/variables/name/kept", "/ui/../api/variables/name/kept"]
)
def test_odd_path_does_not_lead_to_the_api(server: Server, path: str) -> None:
    answer = server.send(f"GET {path} HTTP/1.1", "Host: HOST", "Sec-Fetch-Site: cross-site")
    assert "as it was" not in answer.body


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_method_is_the_one_of_the_request_line(server: Server, name: str) -> None:
    """A page may let a browser of old send a GET that says nothing of where it comes from."""
    path = "/api/variables/name/kept?_method=DELETE"
    assert server.send(f"GET {path} HTTP/1.1", "Host: HOST", f"{name}: DELETE").status == 200
    assert server.variables()["kept"] == "as it was"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_foreign_page_is_granted_nothing_beforehand(server: Server, method: str) -> None:
    asked = ["Access-Control-Request-Method: POST", "Access-Control-Request-Private-Network: true"]
    answer = server.send(f"{method} /api/variables/ HTTP/1.1", "Host: HOST", FOREIGN, *asked)
    assert answer.status == 403
    assert "access-control-" not in answer.head


@pytest.mark.parametrize("path", ["/api/events/in", "/api/events/out", "/api/logs/out", "/api/no-such"])
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("HOST", "http://attacker.example"),
        ("HOST", "null"),
        ("attacker.example", None),
        ("attacker.example", "http://attacker.example"),
    ],
)
def test_websocket_of_a_foreign_page_is_refused(
    server: Server, path: str, host: str, origin: str | None
) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(
            f"ws://127.0.0.1:{server.port}{path}",
            host=host.replace("HOST", server.host),
            origin=origin,
            suppress_origin=origin is None,
            subprotocols=["prefect"],
            timeout=90,
        )


def test_own_page_and_program_may_do_all_of_it(server: Server) -> None:
    """So that the requests above fail because of what is odd in them, not because they are badly made."""
    for origin in ("Origin: http://HOST", "X-Program: yes"):
        headers = ("Host: HOST", origin, "Content-Type: application/json")
        assert server.send("POST /api/variables/ HTTP/1.1", *headers, body=PLANT).status == 201
        assert server.variables()["planted"] == "by an attacker"
        assert server.send("DELETE /api/variables/name/planted HTTP/1.1", *headers).status == 204
