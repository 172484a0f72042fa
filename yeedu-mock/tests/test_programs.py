"""What jobs can be made of: a workspace's file, SQL, a function."""

import pytest
import requests

FUNCTION = "import beside\n\ndef double(payload, context):\n    return beside.twice(payload)\n"


def upload(client, path, content):
    query = {"workspace_id": 1, "path": path, "overwrite": "true"}
    assert client.request("POST", "workspace/files", params=query, data=content).status_code == 201


def run_to_the_end(client, **body):
    answer = client.post(client.workspace("spark/job"), {"cluster_id": 30, **body})
    assert answer.status_code == 200, answer.text
    run = client.run_job(answer.json()["job_id"])
    return run, client.wait("spark/job", run)


def test_a_python_file_of_the_workspace_is_run(client):
    upload(client, "/jobs/here.py", "import sys\nprint('from a file')\n")
    run, state = run_to_the_end(client, name="of a file", job_command="file:///files/jobs/here.py")
    assert (state, client.log("spark/job", run, "stdout")) == ("DONE", "from a file\n")


@pytest.mark.parametrize("command", ["file:///files/not/there.py", "file:///files/a.jar"])
def test_a_file_that_cannot_be_run_ends_the_run_with_the_reason(client, command):
    run, state = run_to_the_end(client, name=f"of {command}", job_command=command)
    errors = client.get(client.workspace(f"spark/job/run/{run}/workflow/errors")).json()["data"]
    assert state == "ERROR"
    assert command.removeprefix("file:///files") in errors[0]["error"]


@pytest.mark.parametrize("job_type", ["SPARK_SQL", "Thrift SQL"])
def test_sql_is_executed(client, job_type):
    code = "create table t (a, b); insert into t values (1, ';'), (2, null);\nselect * from t"
    body = {"job_type": job_type, "language": "SQL", "job_rawScalaCode": code}
    run, state = run_to_the_end(client, name=job_type, **body)
    assert (state, client.log("spark/job", run, "stdout")) == ("DONE", "1\t;\n2\tNULL\n")


def test_wrong_sql_is_an_error_on_stderr(client):
    body = {"job_type": "SPARK_SQL", "language": "SQL", "job_rawScalaCode": "select * from orders"}
    run, state = run_to_the_end(client, name="wrong sql", **body)
    assert (state, client.log("spark/job", run, "stderr")) == (
        "ERROR",
        "AnalysisException: no such table: orders\n",
    )


def test_a_function_is_called_and_may_import_what_is_beside_it(client, yeedu_mock, until):
    upload(client, "/double/main.py", FUNCTION)
    upload(client, "/double/beside.py", "def twice(number):\n    return number * 2\n")
    body = {
        "name": "double",
        "job_type": "YEEDU_FUNCTIONS",
        "yeedu_functions_script_path": "file:///files/double/main.py",
        "yeedu_functions_function_name": "double",
    }
    run = client.run_job(client.post(client.workspace("spark/job"), body).json()["job_id"])
    url = f"{yeedu_mock.url}/_control/runs/{run}/function"
    answer = until(lambda: (got := requests.post(url, json={"payload": 21}, timeout=90)).ok and got.json())
    assert answer == {"result": 42}
    wrong = requests.post(url, json={"payload": None}, timeout=90).json()["error"]
    assert wrong.startswith("TypeError: ")
    client.post(client.workspace(f"spark/job/run/stop/{run}"))
    assert client.wait("spark/job", run) == "STOPPED"
    assert requests.post(url, json={"payload": 1}, timeout=90).status_code == 409


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("yeedu_functions_max_request_concurrency", 513),
        ("yeedu_functions_request_timeout_sec", 901),
        ("yeedu_functions_idle_timeout_sec", 299),
        ("yeedu_functions_script_path", "/tmp/main.py"),
        ("yeedu_functions_function_name", None),
    ],
)
def test_a_function_that_cannot_be_is_refused(client, field, value):
    body = {
        "name": "no function",
        "job_type": "Functions",
        "yeedu_functions_script_path": "file:///files/double/main.py",
        "yeedu_functions_function_name": "double",
        field: value,
    }
    refused = client.post(client.workspace("spark/job"), body)
    assert (refused.status_code, field in refused.json()["error_message"]) == (400, True)
