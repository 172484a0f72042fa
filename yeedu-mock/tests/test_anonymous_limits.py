"""What a client may cost without a session, and that one with a session is not held to it."""

import contextlib
import http.client
import socket
from dataclasses import replace

import pytest
import requests

from yeedu_mock.control import anonymous_limits
from yeedu_mock.testing import default_settings, running_mock

LARGE = "x" * (anonymous_limits.MAX_BODY_BYTES + 1)


def begin(yeedu_mock, head):
    connection = socket.create_connection(("127.0.0.1", int(yeedu_mock.url.rpartition(":")[2])), 60)
    connection.sendall(head.replace("\n", "\r\n").encode())
    return connection


def is_cut_off(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:  # something was not read
        return True


def test_large_body_needs_a_session(client, yeedu_mock):
    for path in ("login", "workspace/1/spark/job/run"):
        answer = requests.post(f"{yeedu_mock.url}/api/v1/{path}", json={"username": LARGE}, timeout=90)
        assert answer.status_code == 413
        assert "Without a session" in answer.json()["error_message"]
    job = client.post("workspace/1/spark/job", {"name": "large", "job_command": f"true {LARGE}"})
    assert job.status_code in {200, 201}, job.text


def test_slow_head_is_cut_off_and_a_kept_connection_is_not(yeedu_mock, monkeypatch):
    monkeypatch.setattr(anonymous_limits, "HEAD_SECONDS", 1.0)
    for head in ("", "GET / HTTP/1.1\nHost: localhost\n"):
        with begin(yeedu_mock, head) as connection:
            assert is_cut_off(connection)
    request = b"GET /healthCheck HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with begin(yeedu_mock, "") as connection:
        for _ in range(2):
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, bool(answer.read())) == (200, True)
            connection.settimeout(2)  # more than a head may take
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(60)
        connection.sendall(request[:-2])  # the next head is slow
        assert is_cut_off(connection)


def test_slow_body_needs_a_session(client, yeedu_mock, monkeypatch):
    monkeypatch.setattr(anonymous_limits, "BODY_SECONDS", 1.0)
    head = "POST /api/v1/workspace/1/spark/job/run HTTP/1.1\nHost: localhost\nContent-Length: 2\n"
    known = f"{head}Authorization: Bearer {client.token}\n\n{{"
    with begin(yeedu_mock, known) as earlier, begin(yeedu_mock, f"{head}\n{{") as later:
        assert b" 408 " in later.recv(100)
        earlier.sendall(b"}")
        assert b" 400 " in earlier.recv(100)


def test_websocket_stays_open_for_longer_than_a_head_may_take(client, notebook_run, monkeypatch):
    monkeypatch.setattr(anonymous_limits, "HEAD_SECONDS", 1.0)
    kernel = client.open_kernel(notebook_run)
    request = kernel.send("import time; time.sleep(2); print('still here')")
    kernel.finish(request)
    assert kernel.of(request, "execute_reply")[0]["status"] == "ok"


def test_answer_may_take_longer_than_a_head(client, yeedu_mock, monkeypatch):
    monkeypatch.setattr(anonymous_limits, "HEAD_SECONDS", 1.0)
    yeedu_mock.switch(submission_seconds=2)
    assert client.run_job(101)


def test_silent_connections_make_room(yeedu_mock, monkeypatch):
    monkeypatch.setattr(anonymous_limits, "MAX_SILENT", 3)
    with contextlib.ExitStack() as open_ones:
        connections = [open_ones.enter_context(begin(yeedu_mock, "")) for _ in range(5)]
        assert is_cut_off(connections[0])
        for connection in connections[2:]:
            connection.sendall(b"GET /healthCheck HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b" 200 " in connection.recv(100)


NAMES = {
    "yeedu.example.com": 200,
    "Yeedu.Example.Com:8088": 200,
    "a.b.example.org": 200,
    "outside.example.net:8088": 200,
    "example.org": 403,
    "yeedu.example.com.attacker.net": 403,
}


def test_configured_names_are_answered(tmp_path):
    settings = replace(
        default_settings(tmp_path),
        allowed_hosts=("yeedu.example.com", "*.example.org"),
        external_url="http://outside.example.net",
    )
    with running_mock(settings) as mock:
        answers = {name: requests.get(mock.health_url, headers={"Host": name}, timeout=90) for name in NAMES}
    assert {name: answer.status_code for name, answer in answers.items()} == NAMES
    assert "--allowed-hosts" in answers["example.org"].json()["error_message"]
