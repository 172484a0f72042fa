import pytest


def test_job_runs_as_a_process_and_its_streams_are_kept_apart(client):
    run_id = client.run_job(101, arguments="one 'two three'", conf=["spark.a=b"])
    assert client.wait("spark/job", run_id) == "DONE"
    stdout = client.log("spark/job", run_id, "stdout")
    assert "Arguments: ['one', 'two three']" in stdout
    assert 'Conf: ["spark.a=b"]' in stdout
    assert client.log("spark/job", run_id, "stderr") == "This line goes to the error stream.\n"


def test_log_is_readable_while_the_job_runs(client, until):
    run_id = client.run_job(103)
    until(lambda: "Still running after 0 seconds." in client.log("spark/job", run_id, "stdout"))
    assert client.status("spark/job", run_id) == "RUNNING"
    assert client.post(client.workspace(f"spark/job/run/stop/{run_id}")).status_code == 201
    assert client.wait("spark/job", run_id) == "STOPPED"


def test_failing_job_is_an_error_with_its_exit_code_and_reason(client):
    run_id = client.run_job(102)
    assert client.wait("spark/job", run_id) == "ERROR"
    assert client.get(client.workspace(f"spark/job/run/{run_id}")).json()["exit_code"] == 3
    assert "orders does not exist" in client.log("spark/job", run_id, "stderr")
    errors = client.get(client.workspace(f"spark/job/run/{run_id}/workflow/errors")).json()
    assert "exit code 3" in errors["data"][0]["error"]


def test_stopping_a_finished_run_is_a_conflict(client):
    run_id = client.run_job(102)
    client.wait("spark/job", run_id)
    assert client.post(client.workspace(f"spark/job/run/stop/{run_id}")).status_code == 409


def test_log_is_a_file_and_may_be_cut_to_its_end(client):
    run_id = client.run_job(101)
    client.wait("spark/job", run_id)
    answer = client.get(client.workspace(f"spark/job/run/{run_id}/log/stdout"))
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == 'attachment; filename="stdout.log"'
    assert client.log("spark/job", run_id, "stdout", last_n_lines=2) == "Step 4 of 4\nDone.\n"
    assert client.log("spark/job", run_id, "stdout", file_size_bytes=6) == "Done.\n"


def test_arguments_that_cannot_be_split_end_the_run_with_the_reason(client):
    run_id = client.run_job(101, arguments="an 'open quote")
    assert client.wait("spark/job", run_id) == "ERROR"
    errors = client.get(client.workspace(f"spark/job/run/{run_id}/workflow/errors")).json()["data"]
    assert "No closing quotation" in errors[0]["error"]


def test_definition_is_read_by_id_and_by_name(client):
    by_id = client.get(client.workspace("spark/job"), params={"job_id": 101}).json()
    by_name = client.get(client.workspace("spark/job"), params={"job_name": "hello-job"}).json()
    assert by_id == by_name
    assert by_id["job_id"] == 101


def test_runs_can_be_searched_by_definition_and_status(client):
    run_id = client.run_job(102, conf=["spark.yeedu.key=findme"])
    client.wait("spark/job", run_id)
    query = {"job_ids": [102], "run_status": ["ERROR", "DONE"], "limit": 1}
    answer = client.get(client.workspace("spark/job/runs"), params=query).json()
    assert [run["run_id"] for run in answer["data"]] == [run_id]
    assert "spark.yeedu.key=findme" in answer["data"][0]["conf"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "spark/job/run/stop/101"),
        ("GET", "spark/job/run/101"),
        ("GET", "spark/job?job_id=201"),
        ("GET", "notebook/run/101"),
        ("GET", "spark/job/run/101/log/stdout"),
    ],
)
def test_mixed_up_ids_find_nothing(client, method, path):
    assert client.request(method, client.workspace(path)).status_code == 404


def test_run_of_another_kind_finds_nothing(client):
    run_id = client.run_job(102)
    assert client.get(client.workspace(f"notebook/run/{run_id}")).status_code == 404
    assert client.get(f"workspace/2/spark/job/run/{run_id}").status_code == 404
    assert client.get(client.workspace(f"spark/job/run/{run_id}/log/stdlog")).status_code == 404
