"""With a login, whoever has none gets nothing: every route and websocket of the application is tried."""

import base64
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
import websocket

from server.tests.conftest import AUTH_STRING, LOGIN
from tests.prefect_process import PrefectProcess

SECRET = "canary-of-a-variable"

# What is answered without a login, and why; the last test says what is in it.
OPEN = {
    "/api/health": "lets a probe know that the server runs",
    "/api/ready": "lets a probe know that it reaches its database",
    "/ui-settings": "tells the page to ask for a login",
    "/openapi.json": "describes Prefect's API, which is public",
}
# What is answered to nobody, for such pages run code of other servers.
REFUSED = {f"{base}/{page}" for base in ("", "/api") for page in ("docs", "docs/oauth2-redirect", "redoc")}
WRONG_LOGINS: dict[str, dict[str, str]] = {
    "none": {},
    "another password": {"Authorization": f"Basic {base64.b64encode(b'admin:wrong').decode()}"},
    "no password": {"Authorization": f"Basic {base64.b64encode(b'admin:').decode()}"},
    "another scheme": {"Authorization": f"Bearer {AUTH_STRING}"},
    "no base64": {"Authorization": "Basic :::"},
}


class Routes(NamedTuple):
    http: list[tuple[str, str]]
    websockets: list[str]


@pytest.fixture(scope="module")
def routes(closed_server: PrefectProcess) -> Routes:
    """Every route of the application with the server's own settings, with a value for each parameter."""
    program = [sys.executable, str(Path(__file__).with_name("print_routes.py"))]
    printed = subprocess.check_output(program, env=closed_server.environment, text=True, timeout=300)
    found = [(methods, re.sub(r"\{[^}]*\}", _value, path)) for methods, path in json.loads(printed)]
    http = sorted({(method, path) for methods, path in found for method in methods})
    return Routes(http, [path for methods, path in found if not methods])


def _value(parameter: re.Match[str]) -> str:
    return str(uuid.UUID(int=1)) if re.search(r"id\b", parameter[0]) else "yeedu-pool"


@pytest.fixture(scope="module")
def address(closed_server: PrefectProcess) -> str:
    """The server's address, once it holds something that is nobody else's business."""
    body = {"name": "private", "value": SECRET}
    requests.post(f"{closed_server.url}/variables/", json=body, auth=LOGIN, timeout=90).raise_for_status()
    return closed_server.url.removesuffix("/api")


def test_the_list_of_routes_is_whole(routes: Routes) -> None:
    assert len(routes.http) > 150
    assert {path for _, path in routes.http} >= {
        *OPEN,
        *REFUSED,
        "/api/variables/filter",
        "/api/admin/storage",
    }
    assert set(routes.websockets) >= {"/api/events/in", "/api/events/out", "/api/logs/out"}


def test_every_route_is_refused_without_the_login(address: str, routes: Routes) -> None:
    closed = [(method, path) for method, path in routes.http if path not in {*OPEN, *REFUSED}]
    closed += [(method, path) for path in OPEN for method in ("POST", "DELETE") if path.startswith("/api/")]
    answers: dict[str, int] = {}
    with requests.Session() as session:
        for method, path in closed:
            for how in ("none", "another password"):
                answer = session.request(method, address + path, headers=WRONG_LOGINS[how], timeout=90)
                answers[f"{method} {path}, {how}"] = answer.status_code
    assert {what: status for what, status in answers.items() if status != 401} == {}


@pytest.mark.parametrize("how", WRONG_LOGINS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE", "QUERY"])
def test_no_method_and_no_malformed_login_opens_the_api(address: str, how: str, method: str) -> None:
    for path in (
        "/api/variables/name/private",
        "/api/variables/filter",
        "/api/health/",
        "/api/no-such-route",
    ):
        answer = requests.request(method, address + path, headers=WRONG_LOGINS[how], json={}, timeout=90)
        assert answer.status_code == 401, path
        assert SECRET not in answer.text


def test_the_login_opens_what_was_refused(address: str) -> None:
    answer = requests.get(f"{address}/api/variables/name/private", auth=LOGIN, timeout=90)
    assert answer.json()["value"] == SECRET


@pytest.mark.parametrize(
    "first",
    [
        None,
        {"type": "auth"},
        {"type": "auth", "token": "admin:wrong"},
        {"type": "auth", "token": ""},
        {"type": "event", "filter": {}},
    ],
    ids=lambda first: json.dumps(first),
)
def test_every_websocket_is_closed_to_those_without_the_login(
    address: str, routes: Routes, first: dict[str, str] | None
) -> None:
    for path in routes.websockets:
        url = address.replace("http:", "ws:") + path
        if first is None:
            with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
                websocket.create_connection(url, timeout=90)
        else:
            assert first_answer(url, first) == (websocket.ABNF.OPCODE_CLOSE, 1008), path


def test_every_websocket_is_open_to_those_with_the_login(address: str, routes: Routes) -> None:
    for path in routes.websockets:
        url = address.replace("http:", "ws:") + path
        opcode, _ = first_answer(url, {"type": "auth", "token": AUTH_STRING})
        assert opcode == websocket.ABNF.OPCODE_TEXT, path


def first_answer(url: str, message: dict[str, str]) -> tuple[int, int]:
    """Open a websocket, send a message, and return the kind of the answer and a closing one's code."""
    socket = websocket.create_connection(url, subprotocols=["prefect"], timeout=90)
    try:
        socket.send(json.dumps(message))
        frame = socket.recv_frame()
    finally:
        socket.shutdown()
    assert isinstance(frame.data, bytes)
    return frame.opcode, int.from_bytes(frame.data[:2])


def test_page_that_runs_code_of_others_is_shown_to_nobody(address: str) -> None:
    for path in REFUSED:
        answer = requests.get(address + path, auth=LOGIN, timeout=90)
        assert answer.status_code == 404, path
        assert "<script" not in answer.text


def test_what_is_open_tells_nothing(address: str) -> None:
    answers = {path: requests.get(address + path, timeout=90) for path in OPEN}
    for path, answer in answers.items():
        assert answer.status_code == 200, path
        assert SECRET not in answer.text, path
        assert LOGIN[1] not in answer.text, path
    assert answers["/api/health"].json() is True
    assert answers["/api/ready"].json() == {"message": "OK"}
    settings = answers["/ui-settings"].json()
    assert settings["auth"] == "BASIC"
    assert settings.keys() == {
        *("api_url", "csrf_enabled", "auth", "flags", "default_ui", "available_uis"),
        *("v1_base_url", "v2_base_url"),
    }
    assert not answers["/openapi.json"].json().get("servers")
