"""Without a session the API gives nothing; control obeys no web page, and nobody while it is off."""

import re

import pytest
import requests
import websocket

from yeedu_mock.settings import Settings
from yeedu_mock.testing import running_mock

OPEN = {("GET", "/api/v1/healthCheck"), ("GET", "/api/v1/login/auth_type"), ("POST", "/api/v1/login")}
CONTROL = "/_control/"


@pytest.fixture(scope="module")
def operations(yeedu_mock):
    """Every method of every path that the mock describes, with a value for each parameter."""
    paths = requests.get(f"{yeedu_mock.url}/openapi.json", timeout=90).json()["paths"]
    return [
        (method.upper(), re.sub(r"\{[^}]*\}", "1", path))
        for path, methods in paths.items()
        for method in methods
    ]


@pytest.mark.parametrize("token", [None, "Bearer ", "Bearer wrong", "Basic ZGVtbzpkZW1v"])
def test_every_operation_of_the_api_wants_a_session(yeedu_mock, operations, token):
    headers = {"Authorization": token} if token else {}
    closed = {operation for operation in operations if not operation[1].startswith(CONTROL)} - OPEN
    assert len(closed) > 100
    for method, path in closed:
        answer = requests.request(method, yeedu_mock.url + path, headers=headers, json={}, timeout=90)
        assert answer.status_code == 401, f"{method} {path}"


@pytest.mark.parametrize("path", ["run/1/kernel/ws/yeedu_session/wrong", "1/kernel/ws/yeedu_session/wrong"])
def test_every_websocket_wants_a_session(yeedu_mock, path):
    url = yeedu_mock.url.replace("http:", "ws:") + f"/api/v1/workspace/1/notebook/{path}"
    with pytest.raises(websocket.WebSocketBadStatusException, match=r"40[13]"):
        websocket.create_connection(url, timeout=90)


def test_control_that_is_off_has_no_operation(tmp_path, operations):
    control = [operation for operation in operations if operation[1].startswith(CONTROL)]
    assert len(control) > 10
    with running_mock(Settings(port=0, state_directory=tmp_path, spare_kernels=0)) as mock:
        for method, path in control:
            assert requests.request(method, mock.url + path, json={}, timeout=90).status_code == 404, path


@pytest.mark.parametrize("origin", ["http://attacker.example", "null", "http://localhost:8088"])
def test_control_obeys_no_page(yeedu_mock, operations, origin):
    for method, path in operations:
        if path.startswith(CONTROL):
            answer = requests.request(
                method, yeedu_mock.url + path, headers={"Origin": origin}, json={}, timeout=90
            )
            assert answer.status_code == 403, f"{method} {path}"
