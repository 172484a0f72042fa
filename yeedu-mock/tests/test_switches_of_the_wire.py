"""What nobody outside Yeedu knows is a switch: logs, websockets, and what stands between."""

from __future__ import annotations

import json
import ssl
import time

import httpx
import pytest
import requests
import websocket

from yeedu_mock.settings import Settings
from yeedu_mock.testing import running_mock

# Logs.


@pytest.fixture
def ended(client, yeedu_mock):
    """A run whose log is the digits from 0 to 9, and nothing on stderr."""
    body = {"program": "print('0123456789', end='')", "name": "digits"}
    job = requests.post(f"{yeedu_mock.url}/_control/jobs", json=body, timeout=90).json()["job_id"]
    run = client.run_job(job)
    assert client.wait("spark/job", run) == "DONE"
    return run


def log(client, run, stream="stdout", **headers):
    url = f"{client.url}/api/v1/workspace/1/spark/job/run/{run}/log/{stream}"
    return requests.get(url, headers={"Authorization": f"Bearer {client.token}", **headers}, timeout=90)


@pytest.mark.parametrize(("ranges", "status", "text"), [(True, 206, "6789"), (False, 200, "0123456789")])
def test_ranges_of_a_log_are_answered_or_not(client, ended, yeedu_switches, ranges, status, text):
    yeedu_switches(log_ranges=ranges)
    answer = log(client, ended, Range="bytes=6-")
    assert (answer.status_code, answer.text) == (status, text)


def test_only_the_end_of_a_log_is_kept(client, ended, yeedu_switches):
    yeedu_switches(log_limit_bytes=3)
    assert log(client, ended).text == "789"


def test_logs_can_be_missing(client, ended, yeedu_switches):
    yeedu_switches(logs_missing=["stdout"])
    assert (log(client, ended).status_code, log(client, ended, "stderr").status_code) == (404, 200)


@pytest.mark.parametrize("status", [200, 404])
def test_an_empty_log_is_a_200_or_a_404(client, ended, yeedu_switches, status):
    yeedu_switches(empty_log_status=status)
    assert (log(client, ended).status_code, log(client, ended, "stderr").status_code) == (200, status)


# Kernels and their websockets.


def test_a_kernel_can_end_with_its_last_websocket(client, yeedu_switches):
    yeedu_switches(kernel_survives_disconnect=False)
    run = client.run_notebook(201)
    client.wait("notebook", run, "RUNNING")
    first, second = client.open_kernel(run), client.open_kernel(run)
    first.finish(first.send("1"))
    first.close()
    second.finish(second.send("2"))
    assert client.status("notebook", run) == "RUNNING"
    second.close()
    assert client.wait("notebook", run) == "ERROR"


@pytest.mark.parametrize("is_allowed", [True, False])
def test_the_token_of_a_websocket_may_be_a_header_or_not(client, notebook_run, yeedu_switches, is_allowed):
    yeedu_switches(websocket_token_in_header=is_allowed)
    url = f"{client.url.replace('http', 'ws', 1)}/api/v1/workspace/1/notebook/run/{notebook_run}/kernel/ws"
    header = {"Authorization": f"Bearer {client.token}"}
    if not is_allowed:
        with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
            websocket.create_connection(url, header=header, timeout=90)
        return
    socket = websocket.create_connection(url, header=header, timeout=90)
    assert json.loads(socket.recv())["msg_type"] == "status"
    socket.shutdown()


@pytest.mark.parametrize("code", [1000, 1011, 4000])
def test_a_websocket_is_closed_with_the_code_asked_for(client, yeedu_switches, code):
    yeedu_switches(websocket_close_code=code)
    run = client.run_notebook(201)
    client.wait("notebook", run, "RUNNING")
    kernel = client.open_kernel(run)
    client.post(client.workspace(f"notebook/run/kill/{run}"))
    while True:
        opcode, data = kernel.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            break
    assert int.from_bytes(data[:2], "big") == code
    client.wait("notebook", run)


def test_messages_can_be_slow(client, notebook_run, yeedu_switches):
    kernel = client.open_kernel(notebook_run)
    kernel.finish(kernel.send("0"))
    yeedu_switches(websocket_delay_seconds=0.2)
    begun = time.monotonic()
    request = kernel.send("1")
    kernel.finish(request)
    about_it = [message for message in kernel.received if message["parent_header"].get("msg_id") == request]
    assert len(about_it) >= 4
    assert time.monotonic() - begun >= 0.2 * 4


def test_every_second_message_can_be_lost(client, notebook_run, yeedu_switches, until):
    kernel = client.open_kernel(notebook_run)
    request = kernel.send("print('whole')")
    kernel.finish(request)
    whole = [message for message in kernel.received if message["parent_header"].get("msg_id") == request]
    yeedu_switches(websocket_lose_every=2)
    request = kernel.send("print('in part')")
    until(lambda: "in part" in client.log("notebook", notebook_run, "stdout"))
    kernel.socket.settimeout(5)
    with pytest.raises(websocket.WebSocketTimeoutException):
        kernel.receive_until(lambda _: False)
    part = [message for message in kernel.received if message["parent_header"].get("msg_id") == request]
    assert len(part) in {len(whole) // 2, len(whole) - len(whole) // 2}


# What stands between.


@pytest.mark.parametrize("generation", ["v1", "v2", "all"])
@pytest.mark.parametrize(("status", "form"), [(404, "json"), (405, "html"), (400, "text")])
def test_one_generation_alone_can_be_served(client, job, yeedu_switches, generation, status, form):
    run_id = client.run_job(job)
    client.wait("spark/job", run_id)
    yeedu_switches(generation=generation, unknown_route_status=status, gateway_page=form)
    asked = {
        "v1": (
            f"spark/job/{run_id}",
            "spark/job/confs",
            f"spark/job/{run_id}/log/stdout",
            "notebook/conf?notebook_conf_id=201",
        ),
        "v2": (
            f"spark/job/run/{run_id}",
            "spark/job/runs",
            f"spark/job?job_id={job}",
            "notebook?notebook_id=201",
        ),
    }
    for one, paths in asked.items():
        for path in paths:
            answer = client.get(client.workspace(path))
            assert answer.status_code == (200 if generation in {one, "all"} else status), path
            if answer.status_code == status:
                assert ("error_code" in answer.text) == (form == "json")


@pytest.mark.parametrize("status", [404, 405, 502])
@pytest.mark.parametrize(("form", "content_type"), [("html", "text/html"), ("text", "text/plain")])
def test_a_proxys_pages_stand_for_every_answer(
    client, yeedu_switches, yeedu_mock, status, form, content_type
):
    yeedu_switches(gateway_status=status, gateway_page=form)
    answer = client.get("user/info")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(content_type)
    assert "error_code" not in answer.text
    with pytest.raises(websocket.WebSocketBadStatusException, match=str(status)):
        client.open_kernel(1)
    assert requests.get(yeedu_mock.health_url, timeout=90).status_code == 200, "not behind the proxy"


def test_requests_beyond_a_rate_are_turned_away_for_a_second(client, yeedu_switches, until):
    yeedu_switches(requests_per_second=3)
    answers = [client.get("user/info") for _ in range(12)]
    turned_away = [answer for answer in answers if answer.status_code == 429]
    assert turned_away
    assert {answer.headers["retry-after"] for answer in turned_away} == {"1"}
    assert "error_code" in turned_away[0].text
    until(lambda: client.get("user/info").status_code == 200)


@pytest.mark.parametrize("end", ["closed", "reset"])
def test_connections_are_dropped_before_a_byte_is_read(yeedu_mock, yeedu_switches, end):
    yeedu_switches(connections_to_drop=1, connection_end=end)
    with pytest.raises(requests.ConnectionError):
        requests.get(yeedu_mock.health_url, timeout=90)
    assert requests.get(yeedu_mock.health_url, timeout=90).status_code == 200


@pytest.mark.parametrize(("end", "error"), [("closed", "EOF"), ("reset", "reset")])
def test_a_tls_handshake_can_be_cut_off(certificate, tmp_path, end, error):
    settings = Settings(port=0, state_directory=tmp_path, spare_kernels=0, tls_certificate=certificate)
    with running_mock(settings) as mock:
        mock.switch(connections_to_drop=1, connection_end=end)
        trust = ssl.create_default_context(cafile=certificate)
        with pytest.raises(httpx.TransportError, match=error):
            httpx.get(mock.health_url, timeout=90, verify=trust)
        assert httpx.get(mock.health_url, timeout=90, verify=trust).status_code == 200


def test_an_answer_can_break_off_in_the_middle(client, ended, yeedu_mock):
    fault = {"path": "log/stdout$", "drop": "during", "drop_after_bytes": 4}
    requests.post(f"{yeedu_mock.url}/_control/faults", json=fault, timeout=90).raise_for_status()
    url = f"{client.url}/api/v1/workspace/1/spark/job/run/{ended}/log/stdout"
    headers = {"Authorization": f"Bearer {client.token}"}
    received: list[bytes] = []
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        received.extend(requests.get(url, headers=headers, timeout=90, stream=True).iter_content(1))
    assert b"".join(received) == b"0123"
    assert log(client, ended, Range=f"bytes={len(received)}-").text == "456789"


@pytest.mark.parametrize(("form", "shown"), [("html", "<center>nginx</center>"), ("text", "default backend")])
def test_a_fault_can_answer_with_a_proxys_page(client, yeedu_mock, form, shown):
    fault = {"path": "user/info$", "status": 404, "page": form, "headers": {"X-Via": "proxy"}}
    requests.post(f"{yeedu_mock.url}/_control/faults", json=fault, timeout=90).raise_for_status()
    answer = client.get("user/info")
    assert (answer.status_code, answer.headers["x-via"]) == (404, "proxy")
    assert shown in answer.text
    assert "error_code" not in answer.text
