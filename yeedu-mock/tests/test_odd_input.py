"""Input that no client sends on purpose is refused or kept, and never a failure of the mock."""

from urllib.parse import unquote

import pytest

SURROGATE = b'"\\ud800"'


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "login", b'{"username": "\\ud800", "password": "\\u0000"}'),
        ("POST", "login", b"[" * 100_000),
        ("POST", "user/token", b'{"description": "\\ud800"}'),
        ("POST", "workspace/1/spark/job/run", b'{"job_id": 1e999}'),
        ("POST", "workspace/1/spark/job/run", b'{"job_id": 101, "conf": ["\\ud800"]}'),
        ("POST", "workspace/1/spark/job", b'{"name": "odd", "files": ' + SURROGATE + b"}"),
        ("POST", "workspace/1/spark/job", b'{"name": "odd-number", "files": NaN}'),
        ("POST", "workspace/1/notebook/201/update", b'{"cells": [{"code": ' + SURROGATE + b"}]}"),
        ("POST", "workspace/1/notebook/201/update", b'{"cells": [NaN]}'),
        ("POST", "workspace/1/notebook/201/update", b'{"cells": ' + b"[" * 100_000),
        ("POST", "cluster", b'{"name": "odd", "size": ' + SURROGATE + b"}"),
        ("GET", "workspace/1/spark/job?job_name=%00%ff", b""),
        ("GET", "workspace/1/spark/job/runs?job_ids=999999999999999999999999", b""),
        ("GET", "workspace/1/notebook/run/%00", b""),
        ("GET", "workspace/1/spark/job/run/99999999999999999999999999", b""),
        ("GET", "workspace/1/spark/job/run/" + "9" * 5000, b""),
        ("GET", "workspace/1/spark/job?job_id=" + "9" * 5000, b""),
        ("GET", "workspace/1/notebook/conf?notebook_conf_id=" + "9" * 5000, b""),
    ],
)
def test_odd_input_is_answered_in_json_and_is_no_failure_of_the_mock(client, method, path, body):
    answer = client.request(method, path, data=body)
    assert answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/json")
    assert client.get("workspace/1/spark/jobs").status_code == 200
    assert client.get("workspace/1/notebook/conf", params={"notebook_conf_id": 201}).status_code == 200


@pytest.mark.parametrize("name", ["日本", 'a"b\\', "a\r\nSet-Cookie: b", "\0"])
def test_a_definition_of_any_name_is_downloaded_under_that_name(client, name):
    notebook = client.post("workspace/1/notebook/conf", {"name": name}).json()["notebook_conf_id"]
    exported = client.get("workspace/1/notebook/conf/export", params={"notebook_conf_id": notebook})
    downloaded = client.get("workspace/file/download", params={"workspace_id": 1, "file_id": notebook})
    assert exported.json()["notebook_name"] == name
    for answer, ending in ((exported, ".json"), (downloaded, ".ipynb")):
        disposition = answer.headers["content-disposition"]
        assert unquote(disposition.partition("filename*=UTF-8''")[2]) == name + ending
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "a{99999999999}"},
        {"path": "(" * 3000},
        {"path": "x", "status": 503, "headers": {"日": "x"}},
        {"path": "x", "status": 503, "headers": {"a": "b\r\nc: d"}},
        {"path": "x", "status": 503, "headers": {"": "b"}},
    ],
)
def test_a_fault_that_could_not_be_applied_is_refused(anonymous, fault):
    answer = anonymous.session.post(f"{anonymous.url}/_control/faults", json=fault, timeout=90)
    assert answer.status_code == 400, answer.text


def test_a_message_too_deep_to_be_read_leaves_its_connection_open(client, notebook_run):
    kernel = client.open_kernel(notebook_run)
    kernel.socket.send("[" * 100_000)
    request = kernel.send("print('still here')")
    kernel.finish(request)
    assert kernel.of(request, "execute_reply")[0]["status"] == "ok"


def test_arguments_with_a_null_byte_end_the_run_with_the_reason(client):
    run = client.run_job(101, arguments="a\x00b")
    assert client.wait("spark/job", run) == "ERROR"
    assert "null byte" in client.get(client.workspace(f"spark/job/run/{run}/workflow/errors")).text
