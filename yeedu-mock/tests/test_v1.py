"""The v1 and v1b generations, where ids without `conf` in their name are those of executions."""

import json

import pytest
import websocket


@pytest.fixture
def instance(client, until):
    """A running v1 notebook instance, killed afterwards."""
    answer = client.post(client.workspace("notebook"), {"notebook_conf_id": 201})
    assert answer.status_code == 200
    notebook_id = answer.json()["notebook_id"]
    until(lambda: status(client, "notebook", notebook_id) == "RUNNING")
    yield notebook_id
    client.post(client.workspace(f"notebook/kill/{notebook_id}"))
    until(lambda: status(client, "notebook", notebook_id) == "STOPPED")


def status(client, kind, execution_id):
    path = f"spark/job/{execution_id}" if kind == "job" else f"notebook/{execution_id}"
    return client.get(client.workspace(path)).json()[f"{kind}_status"]


def test_job_runs_and_has_logs(client, until):
    body = {"job_conf_id": 101, "arguments": "x", "conf": ["a=b"]}
    answer = client.post(client.workspace("spark/job"), body)
    assert answer.status_code == 200
    job_id = answer.json()["job_id"]
    assert job_id != 101
    until(lambda: status(client, "job", job_id) == "DONE")
    log = client.get(client.workspace(f"spark/job/{job_id}/log/stdout"))
    assert "Arguments: ['x']" in log.text
    assert log.headers["content-disposition"].startswith("attachment")


def test_job_is_killed(client, until):
    job_id = client.post(client.workspace("spark/job"), {"job_conf_name": "long-job"}).json()["job_id"]
    until(lambda: status(client, "job", job_id) == "RUNNING")
    assert client.post(client.workspace(f"spark/job/kill/{job_id}")).status_code == 201
    until(lambda: status(client, "job", job_id) == "STOPPED")


@pytest.mark.parametrize("key", ["notebook_conf_id", "notebook_conf_ids"])
def test_list_of_running_instances_is_404_until_one_runs(client, instance, key):
    query = {key: 202, "notebook_status": "RUNNING", "isActive": "true"}
    assert client.get(client.workspace("notebooks"), params=query).status_code == 404
    found = client.get(client.workspace("notebooks"), params=query | {key: 201}).json()
    assert found["data"][0]["notebook_id"] == instance


def test_kernel_is_reached_without_run_in_the_path(client, instance):
    path = client.workspace(f"notebook/{instance}/kernel")
    answer = client.post(f"{path}/startOrGetStatus").json()
    assert answer["kernel_info"]["kernel_status"] in {"idle", "busy"}  # just started, it may still be busy
    assert client.get(f"{path}/ws", params={"yeedu_session": client.token}).status_code == 200
    address = f"{client.url.replace('http', 'ws', 1)}/api/v1/{path}/ws/yeedu_session/{client.token}"
    socket = websocket.create_connection(address, timeout=90)
    header = {"msg_type": "execute_request", "msg_id": "cell-1", "session": "s", "version": "5.3"}
    content = {"code": "6 * 7", "silent": False}
    socket.send(json.dumps({"header": header, "content": content, "channel": "shell"}))
    received = {}
    while not {"execute_result", "execute_reply"} <= received.keys():
        message = json.loads(socket.recv())
        received[message["msg_type"]] = message["content"]
    assert received["execute_result"]["data"] == {"text/plain": "42"}
    socket.shutdown()


def test_cells_are_read_and_saved_in_both_forms(client):
    body = {"notebook_name": "v1-cells", "notebook_type": "Python3"}
    conf = client.post(client.workspace("notebook/conf"), body).json()["notebook_conf_id"]
    cells = [{"cell_uuid": "u1", "code": "1 + 1", "output": [{"text": ["2"]}]}]
    answer = client.post(client.workspace(f"notebook/{conf}/update"), {"cells": cells})
    assert answer.status_code == 201
    read = client.get(client.workspace("notebook/conf"), params={"notebook_conf_id": conf}).json()
    assert read["notebook_cells"]["cells"] == [{"cell_type": "code"} | cells[0]]
    query = {"file_id": read["notebook_file_id"], "workspace_id": 1}
    file = client.get("workspace/file/download", params=query)
    assert file.headers["content-disposition"] == 'attachment; filename="v1-cells.ipynb"'
    assert file.json()["cells"][0]["source"] == "1 + 1"


def test_the_same_path_starts_in_v1_and_creates_in_v2(client, until):
    created = client.post(
        client.workspace("spark/job"), {"name": "made-in-v2", "job_command": "echo made"}
    ).json()
    assert created["job_id"] > 1000
    run = client.post(client.workspace("spark/job"), {"job_conf_id": created["job_id"]}).json()
    assert run["job_conf_id"] == created["job_id"]
    until(lambda: status(client, "job", run["job_id"]) == "DONE")
    assert client.get(client.workspace(f"spark/job/{run['job_id']}/log/stdout")).text == "made\n"
    v1 = client.get(client.workspace("spark/jobs"), params={"job_conf_id": created["job_id"]}).json()
    assert [item["job_id"] for item in v1["data"]] == [run["job_id"]]
    v2 = client.get(client.workspace("spark/jobs"), params={"has_run": "true", "limit": 1000}).json()
    assert created["job_id"] in [item["job_id"] for item in v2["data"]]


def test_killing_an_ended_instance_is_a_conflict_in_json(client, until):
    job_id = client.post(client.workspace("spark/job"), {"job_conf_id": 102}).json()["job_id"]
    until(lambda: status(client, "job", job_id) == "ERROR")
    answer = client.post(client.workspace(f"spark/job/kill/{job_id}"))
    assert answer.status_code == 409
    assert answer.json()["error_message"]
