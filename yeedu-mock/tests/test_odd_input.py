"""Input that no client sends on purpose is refused or kept, and never a failure of the mock."""

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
    ],
)
def test_odd_input_is_answered_in_json_and_is_no_failure_of_the_mock(client, method, path, body):
    answer = client.request(method, path, data=body)
    assert answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/json")
    assert client.get("workspace/1/spark/jobs").status_code == 200
    assert client.get("workspace/1/notebook/conf", params={"notebook_conf_id": 201}).status_code == 200


def test_arguments_with_a_null_byte_end_the_run_with_the_reason(client):
    run = client.run_job(101, arguments="a\x00b")
    assert client.wait("spark/job", run) == "ERROR"
    assert "null byte" in client.get(client.workspace(f"spark/job/run/{run}/workflow/errors")).text
