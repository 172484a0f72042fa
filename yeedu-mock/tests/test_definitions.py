import pytest


@pytest.fixture
def job(client, request):
    body = {"name": request.node.name, "job_type": "SPARK_JOB", "cluster_id": 30, "max_concurrency": 5}
    answer = client.post(client.workspace("spark/job"), body | {"program": "print('first')"})
    assert answer.status_code == 200
    return answer.json()


def test_created_job_shows_every_field_that_was_sent(client, job):
    read = client.get(client.workspace("spark/job"), params={"job_id": job["job_id"]}).json()
    assert read == job
    assert read["max_concurrency"] == 5


def test_cluster_can_be_changed_to_one_that_exists(client, job):
    query = {"job_id": job["job_id"]}
    answer = client.request("PUT", client.workspace("spark/job"), params=query, json={"cluster_id": 31})
    assert answer.status_code == 200
    assert client.get(client.workspace("spark/job"), params=query).json()["cluster_id"] == 31
    answer = client.request("PUT", client.workspace("spark/job"), params=query, json={"cluster_id": 999})
    assert answer.status_code == 404
    run = client.run_job(job["job_id"])
    assert client.get(client.workspace(f"spark/job/run/{run}")).json()["cluster_id"] == 31
    client.wait("spark/job", run)


def test_jobs_own_arguments_are_passed_unless_the_run_brings_others(client):
    body = {"name": "echo", "job_command": 'echo "$*"', "job_arguments": "of the job"}
    job = client.post(client.workspace("spark/job"), body).json()
    assert (job["job_arguments"], job["arguments"]) == ("of the job", "of the job")
    for sent, printed in (({}, "of the job\n"), ({"arguments": "of the run"}, "of the run\n")):
        run = client.run_job(job["job_id"], **sent)
        assert client.wait("spark/job", run) == "DONE"
        assert client.log("spark/job", run, "stdout") == printed


def test_names_are_unique_in_a_workspace(client, job):
    assert client.post(client.workspace("spark/job"), {"name": job["name"]}).status_code == 409


def test_job_that_the_mock_cannot_run_says_so(client):
    body = {"name": "scala", "job_type": "RAW_SCALA", "job_rawScalaCode": "println(1)"}
    run = client.run_job(client.post(client.workspace("spark/job"), body).json()["job_id"])
    assert client.wait("spark/job", run) == "ERROR"
    errors = client.get(client.workspace(f"spark/job/run/{run}/workflow/errors")).json()["data"]
    assert "The mock cannot run this kind of job" in errors[0]["error"]


def test_definition_is_disabled_searched_and_exported(client, job):
    query = {"job_id": job["job_id"]}
    assert client.request("PUT", client.workspace("spark/job/disable"), params=query).status_code == 200
    search = client.workspace("spark/jobs/search")
    assert client.get(search, params={"job_name": job["name"], "enable": "true"}).status_code == 404
    found = client.get(search, params={"job_name": job["name"], "enable": "false"}).json()
    assert [item["job_id"] for item in found["data"]] == [job["job_id"]]
    exported = client.get(client.workspace("spark/job/export"), params=query)
    assert exported.headers["content-disposition"].startswith("attachment")


def test_notebook_is_cloned_with_its_cells(client):
    query = {"notebook_id": 201, "new_notebook_name": "a-clone"}
    clone = client.post(client.workspace("notebook/clone"), params=query)
    assert clone.status_code == 201
    assert clone.json()["notebook_id"] not in {0, 201}
    assert client.post(client.workspace("notebook/clone"), params=query).status_code == 409
    elsewhere = query | {"new_notebook_name": "another", "clone_file_path": "/clones"}
    cloned = client.post(client.workspace("notebook/clone"), params=elsewhere).json()["notebook_id"]
    file = client.get("workspace/file", params={"workspace_id": 1, "file_id": cloned}).json()
    assert file["file_path"] == "/clones/another.ipynb"
    upwards = query | {"new_notebook_name": "out", "clone_file_path": "/../out"}
    assert client.post(client.workspace("notebook/clone"), params=upwards).status_code == 400


@pytest.mark.parametrize("query", [{"job_id": "x"}, {"job_id": "9" * 30}, {"job_id": 102.5}, {}])
def test_wrong_id_is_refused(client, query):
    assert client.get(client.workspace("spark/job"), params=query).status_code in {400, 404}


def test_a_job_with_a_command_keeps_its_language_and_says_who_made_it(client, yeedu_mock):
    body = {"name": "commanded", "job_command": "echo by the shell", "language": "Scala"}
    job = client.post(client.workspace("spark/job"), body).json()
    assert job["spark_job_type"]["language"] == "Scala"
    assert job["created_by"]["username"] == yeedu_mock.settings.username
    run = client.run_job(job["job_id"])
    assert client.wait("spark/job", run) == "DONE"
    assert client.log("spark/job", run, "stdout") == "by the shell\n"


def test_names_stay_unique_when_something_is_renamed(client, job):
    query = {"job_id": job["job_id"]}
    for name, status in (("hello-job", 409), (job["name"], 200), (f"{job['name']} renamed", 200)):
        answer = client.request("PUT", client.workspace("spark/job"), params=query, json={"name": name})
        assert answer.status_code == status, answer.text


def test_a_null_takes_a_jobs_arguments_away(client):
    job = client.post(client.workspace("spark/job"), {"name": "bare", "job_arguments": "some"}).json()
    query = {"job_id": job["job_id"]}
    body = {"job_arguments": None}
    changed = client.request("PUT", client.workspace("spark/job"), params=query, json=body).json()
    assert (changed["job_arguments"], changed["arguments"]) == (None, None)


def test_jobs_and_runs_are_listed_by_what_they_are_and_whose(client):
    body = {"name": "listed", "job_type": "SPARK_SQL", "language": "SQL", "job_command": "exit 1"}
    job = client.post(client.workspace("spark/job"), body).json()["job_id"]
    run = client.run_job(job)
    assert client.wait("spark/job", run) == "ERROR"
    me = client.get("user/info").json()["user_id"]
    for query, is_listed in (
        (
            {"job_type": "SPARK_SQL", "job_type_langs": "SQL", "created_by_ids": me, "modified_by_ids": me},
            True,
        ),
        ({"job_type": ["SPARK_JOB", "SPARK_SQL"]}, True),
        ({"job_type": "SPARK_JOB"}, False),
        ({"job_type_langs": ["Jar", "Python3"]}, False),
        ({"created_by_ids": 999_999}, False),
    ):
        jobs = client.get(client.workspace("spark/jobs"), params=query).json()["data"]
        runs = client.get(client.workspace("spark/job/runs"), params=query).json()["data"]
        assert (job in [one["job_id"] for one in jobs]) == is_listed, query
        assert (run in [one["run_id"] for one in runs]) == is_listed, query
    for status, is_listed in (("ERROR", True), ("DONE", False)):
        query = {"job_name": "listed", "last_run_status": status}
        found = client.get(client.workspace("spark/jobs/search"), params=query)
        assert found.status_code == (200 if is_listed else 404)


def test_a_run_is_found_by_its_spark_application(client):
    run = client.run_job(101)
    shown = client.get(client.workspace(f"spark/job/run/{run}")).json()
    details = client.workspace("spark/job/run/workflow_job_instance_details")
    assert client.get(f"{details}/{shown['application_id']}").json()["run_id"] == run
    assert client.get(f"{details}/app-0").status_code == 404
    client.wait("spark/job", run)


def test_notebook_runs_are_listed_by_whether_they_are_in_the_background(client):
    body = {"notebook_id": 201, "is_background": False}
    run = client.post(client.workspace("notebook/run"), body).json()["run_id"]
    for is_background in (True, False):
        query = {"is_background": str(is_background).lower(), "limit": 1000}
        found = client.get(client.workspace("notebook/runs"), params=query).json()["data"]
        assert (run in [one["run_id"] for one in found]) is not is_background
    client.wait("notebook", run, "RUNNING")
    client.post(client.workspace(f"notebook/run/kill/{run}"))
    client.wait("notebook", run)
