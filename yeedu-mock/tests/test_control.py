import time

import pytest
import requests
import websocket

from yeedu_mock.testing import default_settings, running_mock


@pytest.fixture
def control(yeedu_mock):
    """Send something to /_control/* and reset its switches, faults and journal afterwards."""

    def send(method, path, body=None, **query):
        answer = requests.request(
            method, f"{yeedu_mock.url}/_control/{path}", json=body, params=query, timeout=90
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    yield send
    yeedu_mock.mock.control.reset()


def reply_of(kernel, request):
    kernel.receive_until(
        lambda message: (
            message["msg_type"] == "execute_reply" and message["parent_header"]["msg_id"] == request
        )
    )


def test_control_is_off_unless_switched_on(tmp_path):
    settings = default_settings(tmp_path)
    with running_mock(settings.__class__(port=0, state_directory=tmp_path, spare_kernels=0)) as mock:
        assert requests.get(f"{mock.url}/_control/journal", timeout=90).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("switches", {"no_such_switch": True}),
        ("switches", {"start_delay_seconds": -1}),
        ("faults", {"path": "("}),
        ("faults", {"path": "x", "status": 302}),
        ("jobs", {"program": "1", "workspace_id": 99}),
    ],
)
def test_wrong_control_request_is_refused(yeedu_mock, path, body):
    method = "PATCH" if path == "switches" else "POST"
    answer = requests.request(method, f"{yeedu_mock.url}/_control/{path}", json=body, timeout=90)
    assert answer.status_code in {400, 404}
    assert answer.json()["error_message"]


def test_fault_answers_a_status_for_so_many_requests(client, control):
    control(
        "POST", "faults", {"path": "user/info$", "status": 503, "times": 2, "headers": {"Retry-After": "1"}}
    )
    answers = [client.get("user/info") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert control("GET", "faults") == []


@pytest.mark.parametrize(
    ("fault", "answered"),
    [({"body": {"run_status": "ASLEEP"}}, '{"run_status":"ASLEEP"}'), ({"text": "<p>"}, "<p>")],
)
def test_fault_answers_what_yeedu_never_would(client, control, fault, answered):
    control("POST", "faults", {"path": "user/info$", "status": 200, **fault})
    answer = client.get("user/info")
    assert (answer.status_code, answer.text) == (200, answered)


def test_every_run_is_listed_with_its_state(client, control):
    job = control("POST", "jobs", {"program": "print(1)", "name": "told of"})["job_id"]
    run_id = client.run_job(job)
    client.wait("spark/job", run_id)
    assert {"run_id": run_id, "run_status": "DONE", "of": "told of", "type": "job"} in control("GET", "runs")


def test_fault_delays_a_request(client, control):
    control("POST", "faults", {"path": "user/info$", "delay_seconds": 0.3})
    started = time.monotonic()
    assert client.get("user/info").status_code == 200
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(("drop", "runs"), [("before", 0), ("after", 1)])
def test_dropped_submission_has_or_has_not_been_accepted(client, control, drop, runs):
    job = control("POST", "jobs", {"program": "print(1)", "name": f"dropped-{drop}"})["job_id"]
    control("POST", "faults", {"path": "job/run$", "method": "POST", "drop": drop})
    with pytest.raises(requests.ConnectionError):
        client.post(client.workspace("spark/job/run"), {"job_id": job})
    found = client.get(client.workspace("spark/job/runs"), params={"job_ids": job}).json()["data"]
    assert len(found) == runs
    entry = control("GET", "journal")[-2]
    assert (entry["method"], entry["status"]) == ("POST", None)


def test_journal_holds_requests_in_order_and_no_token(client, control):
    control("DELETE", "journal")
    client.get("user/info")
    client.get(client.workspace("notebook/run/1/kernel/ws"), params={"yeedu_session": client.token})
    entries = control("GET", "journal")
    assert [entry["path"].split("?")[0] for entry in entries] == [
        "/api/v1/user/info",
        "/api/v1/workspace/1/notebook/run/1/kernel/ws",
    ]
    assert client.token not in str(entries)
    assert control("GET", "journal", since=entries[0]["number"]) == entries[1:]


def test_run_starts_and_ends_by_hand(client, control):
    control("PATCH", "switches", {"start_by_hand": True})
    run_id = client.run_job(103)
    assert client.status("spark/job", run_id) == "SUBMITTED"
    control("POST", f"runs/{run_id}", {"status": "RUNNING"})
    client.wait("spark/job", run_id, "RUNNING")
    control("POST", f"runs/{run_id}", {"status": "TERMINATED", "error": "The cluster is gone."})
    assert client.status("spark/job", run_id) == "TERMINATED"
    errors = client.get(client.workspace(f"spark/job/run/{run_id}/workflow/errors")).json()["data"]
    assert [error["error"] for error in errors] == ["The cluster is gone."]


def test_run_stays_stopping_for_as_long_as_asked(client, control):
    control("PATCH", "switches", {"stop_delay_seconds": 3})
    run_id = client.run_job(103)
    client.wait("spark/job", run_id, "RUNNING")
    client.post(client.workspace(f"spark/job/run/stop/{run_id}"))
    assert client.status("spark/job", run_id) == "STOPPING"
    assert client.wait("spark/job", run_id) == "STOPPED"


def test_stop_and_tenant_selection_can_be_made_idempotent(client, control, yeedu_mock):
    control("PATCH", "switches", {"idempotent_stop": True, "select_again": True})
    run_id = client.run_job(102)
    client.wait("spark/job", run_id)
    assert client.post(client.workspace(f"spark/job/run/stop/{run_id}")).status_code == 201
    assert client.post(f"user/select/{yeedu_mock.tenant}").status_code == 201


def test_sessions_expire_with_the_status_asked_for(client, control):
    control("PATCH", "switches", {"expired_status": 440})
    control("POST", "sessions/expire")
    assert client.get("user/info").status_code == 440


def test_kernel_says_it_is_not_ready_for_so_many_answers(client, control, notebook_run):
    control("PATCH", "switches", {"kernel_not_ready_answers": 1})
    path = client.workspace(f"notebook/run/{notebook_run}/kernel/startOrGetStatus")
    states = [client.post(path).json()["kernel_info"]["kernel_status"] for _ in range(2)]
    assert states[0] == "not_started"
    assert states[1] in {"idle", "busy"}, "a kernel that answers somebody else is ready too"


@pytest.mark.parametrize("order", ["reply_first", "idle_first"])
def test_reply_and_idle_come_in_the_order_asked_for(client, control, notebook_run, order):
    control("PATCH", "switches", {"websocket_order": order})
    kernel = client.open_kernel(notebook_run)
    ids = [kernel.send("1"), kernel.send("2")]
    kernel.finish(*ids)
    for request in ids:
        ends = [
            "reply" if message["msg_type"] == "execute_reply" else "idle"
            for message in kernel.received
            if message["parent_header"].get("msg_id") == request
            and (
                message["msg_type"] == "execute_reply" or message["content"].get("execution_state") == "idle"
            )
        ]
        assert ends == (["reply", "idle"] if order == "reply_first" else ["idle", "reply"])


def test_messages_can_be_doubled_and_lost(client, control, notebook_run):
    control("PATCH", "switches", {"websocket_duplicates": True, "websocket_swallow": ["execute_input"]})
    kernel = client.open_kernel(notebook_run)
    request = kernel.send("print(1)")
    kernel.finish(request)
    assert len(kernel.of(request, "stream")) == 2
    assert not kernel.of(request, "execute_input")


def test_websocket_is_dropped_once_after_so_many_messages(client, control, notebook_run):
    control("PATCH", "switches", {"websocket_drop_after_messages": 2, "websocket_drops": 1})
    kernel = client.open_kernel(notebook_run)
    with pytest.raises((OSError, websocket.WebSocketConnectionClosedException)):
        kernel.receive_until(lambda _: False)
    assert len(kernel.received) == 2
    again = client.open_kernel(notebook_run)
    again.finish(again.send("1"))


def test_dropped_connection_loses_what_was_published_unless_it_is_buffered(
    client, control, notebook_run, until
):
    for buffers in (False, True):
        control("PATCH", "switches", {"websocket_buffers": buffers})
        kernel = client.open_kernel(notebook_run)
        request = kernel.send("import time; print('before'); time.sleep(2); print('after')")
        kernel.receive_until(lambda message: message["msg_type"] == "stream")
        assert control("POST", f"runs/{notebook_run}/kernel/drop") == {"dropped": 1}
        kernel.close()
        until(lambda runs=1 + buffers: client.log("notebook", notebook_run, "stdout").count("after") == runs)
        again = client.open_kernel(notebook_run)
        if buffers:
            reply_of(again, request)
        else:
            again.finish(again.send("1"))
            assert not again.of(request, "execute_reply")
        again.close()


def test_killed_kernel_ends_the_run(client, control):
    run_id = client.run_notebook(201)
    client.wait("notebook", run_id, "RUNNING")
    control("POST", f"runs/{run_id}/kernel/kill")
    assert client.wait("notebook", run_id) == "ERROR"


def test_added_notebook_and_job_run(client, control):
    notebook = control("POST", "notebooks", {"cells": ["1 + 1"], "name": "sums"})["notebook_id"]
    run_id = client.run_notebook(notebook)
    client.wait("notebook", run_id, "RUNNING")
    path = client.workspace(f"notebook/{notebook}/run/{run_id}/download")
    assert client.get(path).json()["cells"][0]["source"] == "1 + 1"
    client.post(client.workspace(f"notebook/run/kill/{run_id}"))
    client.wait("notebook", run_id)
    job = control("POST", "jobs", {"program": "echo from the shell", "language": "shell"})["job_id"]
    run_id = client.run_job(job)
    assert client.wait("spark/job", run_id) == "DONE"
    assert client.log("spark/job", run_id, "stdout") == "from the shell\n"


def test_reset_makes_the_mock_as_new(tmp_path):
    with running_mock(default_settings(tmp_path)) as mock:
        body = {"username": "demo", "password": mock.settings.password}
        token = requests.post(f"{mock.url}/api/v1/login", json=body, timeout=90).json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        requests.post(f"{mock.url}/api/v1/user/select/{mock.tenant}", headers=headers, timeout=90)
        run = requests.post(
            f"{mock.url}/api/v1/workspace/1/spark/job/run", json={"job_id": 103}, headers=headers, timeout=90
        ).json()["run_id"]
        assert requests.post(f"{mock.url}/_control/reset", timeout=90).status_code == 200
        assert requests.get(f"{mock.url}/api/v1/user/info", headers=headers, timeout=90).status_code == 401
        overview = requests.get(mock.url, headers={"Accept": "application/json"}, timeout=90).json()
        assert overview["runs"] == []
        assert [job["job_id"] for job in overview["jobs"]] == [101, 102, 103]
        assert run > 1000


def test_what_runs_on_a_cluster_that_is_too_small_runs_out_of_memory(client, control):
    cluster = client.post("cluster", {"name": "tiny"}).json()["cluster_id"]
    path = client.workspace("spark/job?job_id=101")
    own = client.get(path).json()["cluster_id"]
    assert client.request("PUT", path, json={"cluster_id": cluster}).status_code == 200
    control("PATCH", f"clusters/{cluster}", {"is_too_small": True})
    run = client.run_job(101)
    assert client.wait("spark/job", run) == "ERROR"
    errors = client.get(client.workspace(f"spark/job/run/{run}/workflow/errors")).json()["data"]
    assert "exit code: 137" in errors[0]["error"]
    assert "OutOfMemoryError" in client.log("spark/job", run, "stderr")
    assert client.request("PUT", path, json={"cluster_id": own}).status_code == 200


def test_a_delayed_request_is_accepted_though_its_client_gave_up(client, control, until):
    job = control("POST", "jobs", {"program": "print(1)", "name": "given up"})["job_id"]
    control("POST", "faults", {"path": "job/run$", "method": "POST", "delay_seconds": 0.5})
    url = f"{client.url}/api/v1/{client.workspace('spark/job/run')}"
    headers = {"Authorization": f"Bearer {client.token}"}
    with pytest.raises(requests.ReadTimeout):
        requests.post(url, json={"job_id": job}, headers=headers, timeout=(90, 0.2))
    query = {"job_ids": job}
    (run,) = until(lambda: client.get(client.workspace("spark/job/runs"), params=query).json()["data"])
    assert client.wait("spark/job", run["run_id"]) == "DONE"


def test_a_run_that_has_ended_cannot_be_made_to_run(client, yeedu_mock):
    run_id = client.run_job(102)
    client.wait("spark/job", run_id)
    url = f"{yeedu_mock.url}/_control/runs/{run_id}"
    answer = requests.post(url, json={"status": "RUNNING"}, timeout=90)
    assert answer.status_code == 409
    assert client.status("spark/job", run_id) == "ERROR"
