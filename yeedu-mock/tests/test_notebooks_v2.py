import pytest
import requests
import websocket


def cells(client, notebook_id, run_id):
    answer = client.get(client.workspace(f"notebook/{notebook_id}/run/{run_id}/download"))
    assert answer.headers["content-disposition"].startswith("attachment")
    return answer.json()["cells"]


def test_cells_run_in_order_with_outputs_replies_and_idle(client, notebook_run):
    kernel = client.open_kernel(notebook_run)
    ids = [kernel.send(cell["source"], cell["cell_uuid"]) for cell in cells(client, 201, notebook_run)]
    kernel.finish(*ids)
    assert [kernel.of(i, "execute_reply")[0]["status"] for i in ids] == ["ok", "ok", "ok"]
    assert [kernel.of(i, "execute_reply")[0]["execution_count"] for i in ids] == [1, 2, 3]
    assert kernel.of(ids[0], "stream")[0]["text"].startswith("Hello from a Yeedu notebook")
    assert kernel.of(ids[1], "execute_result")[0]["data"]["text/plain"] == "45"
    assert "<table>" in kernel.of(ids[2], "display_data")[0]["data"]["text/html"]
    assert "Hello from a Yeedu notebook" in client.log("notebook", notebook_run, "stdout")
    kernel.close()


def test_messages_have_the_form_of_a_jupyter_server(client, notebook_run):
    kernel = client.open_kernel(notebook_run)
    request = kernel.send("1")
    kernel.finish(request)
    for message in kernel.received:
        assert message["msg_type"] == message["header"]["msg_type"]
        assert message["msg_id"] == message["header"]["msg_id"]
        if message["parent_header"].get("msg_id") == request:
            assert message["parent_header"]["msg_type"] == "execute_request"
    assert kernel.received[0]["parent_header"] == {}
    assert any(
        message["parent_header"].get("msg_type") == "kernel_info_request" for message in kernel.received
    )
    kernel.close()


def test_cells_after_a_failed_one_are_aborted(client, notebook_run):
    kernel = client.open_kernel(notebook_run)
    ids = [kernel.send(code) for code in ("import time; time.sleep(3)", "1 / 0", "print('never')")]
    kernel.finish(*ids)
    assert [kernel.of(i, "execute_reply")[0]["status"] for i in ids] == ["ok", "error", "aborted"]
    assert kernel.of(ids[1], "error")[0]["ename"] == "ZeroDivisionError"
    assert not kernel.of(ids[2], "stream")
    kernel.close()


def test_every_connection_sees_what_the_kernel_publishes_but_only_its_own_replies(client, notebook_run):
    first, second = client.open_kernel(notebook_run), client.open_kernel(notebook_run)
    request = first.send("print('to all')")
    first.finish(request)
    second.receive_until(
        lambda message: (
            message["parent_header"].get("msg_id") == request
            and message["content"].get("execution_state") == "idle"
        )
    )
    assert second.of(request, "stream")[0]["text"] == "to all\n"
    assert not second.of(request, "execute_reply")
    first.close()
    second.close()


def test_kernel_outlives_a_connection(client, notebook_run):
    client.open_kernel(notebook_run).close()
    first = client.open_kernel(notebook_run)
    first.finish(first.send("x = 7"))
    first.close()
    second = client.open_kernel(notebook_run)
    request = second.send("x")
    second.finish(request)
    assert second.of(request, "execute_result")[0]["data"]["text/plain"] == "7"
    second.close()


def test_text_that_is_no_message_does_not_end_the_connection(client, notebook_run):
    kernel = client.open_kernel(notebook_run)
    for text in (
        "",
        "{",
        "[]",
        "7",
        '{"header": 1}',
        '{"header": {"msg_id": "a", "msg_type": "b"}, "channel": "x"}',
    ):
        kernel.socket.send(text)
    kernel.socket.send_binary(b"\xff\x00")
    kernel.finish(kernel.send("1"))
    kernel.close()


def test_interrupt_ends_the_running_cell(client, notebook_run):
    kernel = client.open_kernel(notebook_run)
    request = kernel.send("print('started', flush=True)\nimport time\ntime.sleep(60)")
    kernel.receive_until(lambda message: message["msg_type"] == "stream")
    assert client.post(client.workspace(f"notebook/run/{notebook_run}/kernel/interrupt")).status_code == 200
    kernel.finish(request)
    assert kernel.of(request, "execute_reply")[0]["ename"] == "KeyboardInterrupt"
    kernel.close()


def test_restart_tells_the_connection_and_forgets_variables(client, notebook_run):
    kernel = client.open_kernel(notebook_run)
    kernel.finish(kernel.send("x = 7"))
    answer = client.post(client.workspace(f"notebook/run/{notebook_run}/kernel/restart"))
    assert answer.json()["kernel_info"]["kernel_status"] in {"idle", "busy"}
    kernel.receive_until(lambda message: message["content"].get("execution_state") == "restarting")
    kernel.close()
    fresh = client.open_kernel(notebook_run)
    request = fresh.send("x")
    fresh.finish(request)
    assert fresh.of(request, "execute_reply")[0]["ename"] == "NameError"
    fresh.close()
    assert client.status("notebook", notebook_run) == "RUNNING"


def test_kill_closes_the_websocket_and_the_kernel_routes(client):
    run_id = client.run_notebook(201)
    client.wait("notebook", run_id, "RUNNING")
    kernel = client.open_kernel(run_id)
    assert client.post(client.workspace(f"notebook/run/kill/{run_id}")).status_code == 201
    assert client.wait("notebook", run_id) == "STOPPED"
    while kernel.socket.recv():
        pass
    kernel.close()
    assert client.post(client.workspace(f"notebook/run/{run_id}/kernel/startOrGetStatus")).status_code == 409
    assert client.post(client.workspace(f"notebook/run/kill/{run_id}")).status_code == 409


def test_dead_kernel_is_told_and_ends_the_run_in_error(client):
    run_id = client.run_notebook(201)
    client.wait("notebook", run_id, "RUNNING")
    kernel = client.open_kernel(run_id)
    kernel.send("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    kernel.receive_until(lambda message: message["content"].get("execution_state") == "restarting")
    kernel.close()
    assert client.wait("notebook", run_id) == "ERROR"
    errors = client.get(client.workspace(f"notebook/run/{run_id}/workflow/errors")).json()["data"]
    assert errors[0]["error"] == "The kernel died."


@pytest.mark.parametrize(("token", "run", "status"), [("bad", None, 403), (None, 1, 404), (None, 201, 404)])
def test_websocket_is_refused_before_it_opens(client, notebook_run, token, run, status):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        client.open_kernel(run or notebook_run, token)
    assert refused.value.status_code == status


def test_kernel_sees_no_secret_of_the_mock(client, notebook_run, monkeypatch):
    monkeypatch.setenv("YEEDU_MOCK_PASSWORD", "planted")
    kernel = client.open_kernel(notebook_run)
    request = kernel.send(
        "import os; sorted(name for name in os.environ if 'YEEDU' in name or 'TOKEN' in name)"
    )
    kernel.finish(request)
    assert kernel.of(request, "execute_result")[0]["data"]["text/plain"] == "[]"
    kernel.close()


def test_outputs_are_saved_with_the_run_and_shown_on_its_page(client, notebook_run, yeedu_mock):
    content = {"cells": [{"source": "1", "outputs": [{"output_type": "html", "Celloutput": "<b>saved</b>"}]}]}
    path = client.workspace(f"notebook/201/update?run_id={notebook_run}")
    assert client.post(path, content).status_code == 200
    assert cells(client, 201, notebook_run) == content["cells"]
    page = f"{yeedu_mock.url}/tenant/{yeedu_mock.tenant}/workspace/1/run/{notebook_run}/run-metrics"
    shown = requests.get(page, params={"type": "notebook"}, timeout=90)
    assert '<iframe sandbox title="output" srcdoc="&lt;b&gt;saved&lt;/b&gt;">' in shown.text
    assert "default-src 'none'" in shown.headers["content-security-policy"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"cells": 1}', b"\xff"])
def test_a_notebook_without_cells_is_refused(client, notebook_run, body):
    path = client.workspace(f"notebook/201/update?run_id={notebook_run}")
    assert client.request("POST", path, data=body).status_code == 400


def test_notebook_definition_names_its_language(client):
    answer = client.get(client.workspace("notebook"), params={"notebook_id": 202}).json()
    assert answer["notebook_id"] == 202
    assert answer["spark_job_type"]["language"] == "Python3"
