"""What nobody outside Yeedu knows is a switch: how runs start and end."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
import requests

from yeedu_mock.state.enums import RunStatus
from yeedu_mock.state.records import Run


@pytest.fixture
def cluster(client, request):
    return client.post("cluster", {"name": request.node.name}).json()["cluster_id"]


@pytest.fixture
def job_on_cluster(client, cluster, job):
    """A job on a cluster of its own."""
    query = {"job_id": job}
    bound = client.request("PUT", client.workspace("spark/job"), params=query, json={"cluster_id": cluster})
    assert bound.json()["cluster_id"] == cluster
    return job


def post(client, path, body, timeout):
    """Send a POST on a connection of its own, so that giving up on it does nobody harm."""
    headers = {"Authorization": f"Bearer {client.token}"}
    return requests.post(f"{client.url}/api/v1/{path}", json=body, headers=headers, timeout=timeout)


def start_in_background(client, job):
    thread = threading.Thread(
        target=post, args=(client, client.workspace("spark/job/run"), {"job_id": job}, 90)
    )
    thread.start()
    return thread


# How runs start.


@pytest.mark.parametrize("shows_run", [True, False])
def test_the_post_of_a_run_can_block(client, job, yeedu_switches, until, shows_run):
    yeedu_switches(submission_seconds=4.0, submission_shows_run=shows_run)
    begun = time.monotonic()
    blocked = start_in_background(client, job)
    seen = until(lambda: client.runs_of(job) or not blocked.is_alive())
    assert (time.monotonic() - begun < 4) == shows_run
    blocked.join()
    assert time.monotonic() - begun >= 4
    assert seen
    assert len(client.runs_of(job)) == 1


@pytest.mark.parametrize("accepts", [True, False])
def test_a_post_whose_client_gave_up_is_accepted_or_not(
    client, job, yeedu_switches, until, accepts, yeedu_mock
):
    yeedu_switches(submission_seconds=0.6, submission_shows_run=False, accepts_abandoned=accepts)
    path = client.workspace("spark/job/run")
    with pytest.raises(requests.ReadTimeout):
        post(client, path, {"job_id": job}, timeout=(90, 0.2))
    journal = yeedu_mock.mock.control.journal
    until(lambda: any(one["path"].endswith(path) for one in journal.since(0)[-3:]))
    assert len(client.runs_of(job)) == accepts


@pytest.mark.parametrize(("switch", "status"), [("refuse", 409), ("start", 200), ("ignore", 200)])
def test_a_stopped_cluster_refuses_starts_or_runs_all_the_same(
    client, cluster, job_on_cluster, yeedu_switches, switch, status
):
    yeedu_switches(stopped_cluster=switch, cluster_start_seconds=3)
    which = {"cluster_id": cluster}
    assert client.post("cluster/stop", which).json()["cluster_status"] == "STOPPED"
    begun = time.monotonic()
    answer = client.post(client.workspace("spark/job/run"), {"job_id": job_on_cluster})
    assert answer.status_code == status
    assert (time.monotonic() - begun >= 3) == (switch == "start")
    after = client.get("cluster", params=which).json()["cluster_status"]
    assert after == ("RUNNING" if switch == "start" else "STOPPED")


def test_a_cluster_takes_its_time_to_start_and_refuses_runs_meanwhile(
    client, cluster, job_on_cluster, yeedu_switches, until
):
    yeedu_switches(cluster_start_seconds=3)
    which = {"cluster_id": cluster}
    client.post("cluster/stop", which)
    assert client.post("cluster/start", which).json()["cluster_status"] == "INITIATING"
    body = {"job_id": job_on_cluster}
    refused = client.post(client.workspace("spark/job/run"), body)
    assert (refused.status_code, "is INITIATING" in refused.text) == (409, True)
    until(lambda: client.get("cluster", params=which).json()["cluster_status"] == "RUNNING")
    assert client.post(client.workspace("spark/job/run"), body).status_code == 200


@pytest.mark.parametrize("state", ["ERROR", "RESIZING_UP", "STOPPING", "DESTROYING"])
def test_a_cluster_can_be_given_any_state_and_refuses_runs_in_it(
    client, cluster, job_on_cluster, yeedu_mock, yeedu_switches, state
):
    url = f"{yeedu_mock.url}/_control/clusters/{cluster}"
    assert requests.patch(url, json={"status": state}, timeout=90).json()["cluster_status"] == state
    yeedu_switches(refusal_status=422)
    refused = client.post(client.workspace("spark/job/run"), {"job_id": job_on_cluster})
    assert (refused.status_code, f"is {state}" in refused.text) == (422, True)


@pytest.mark.parametrize(("switch", "accepted"), [("refuse", 1), ("queue", 2), ("ignore", 2)])
def test_runs_beyond_max_concurrency_are_refused_queued_or_run(client, job, yeedu_switches, switch, accepted):
    yeedu_switches(max_concurrency=switch)
    query = {"job_id": job}
    client.request("PUT", client.workspace("spark/job"), params=query, json={"max_concurrency": 1})
    first = client.run_job(job, arguments="100")
    client.wait("spark/job", first, "RUNNING")
    answer = client.post(client.workspace("spark/job/run"), {"job_id": job, "arguments": "0"})
    assert answer.status_code == (409 if switch == "refuse" else 200)
    assert len(client.runs_of(job)) == accepted
    if switch == "ignore":
        assert client.wait("spark/job", answer.json()["run_id"]) == "DONE"
    client.post(client.workspace(f"spark/job/run/stop/{first}"))
    if switch == "queue":
        second = answer.json()["run_id"]
        assert client.wait("spark/job", second) == "DONE"
        shown = [client.get(client.workspace(f"spark/job/run/{run}")).json() for run in (first, second)]
        assert shown[0]["end_time"] <= shown[1]["start_time"]
    client.wait("spark/job", first)


# How runs end.


@pytest.mark.parametrize("status", ["STOPPED", "KILLED"])
def test_a_stopped_job_ends_as_asked_for(client, job, yeedu_switches, status):
    yeedu_switches(stopped_job_status=status)
    run = client.run_job(job, arguments="60")
    client.wait("spark/job", run, "RUNNING")
    client.post(client.workspace(f"spark/job/run/stop/{run}"))
    assert client.wait("spark/job", run, "STOPPED", "KILLED") == status


@pytest.mark.parametrize("status", ["STOPPED", "KILLED", "DONE"])
def test_a_killed_notebook_ends_as_asked_for(client, yeedu_switches, status):
    yeedu_switches(stopped_notebook_status=status)
    run = client.run_notebook(201)
    client.wait("notebook", run, "RUNNING")
    client.post(client.workspace(f"notebook/run/kill/{run}"))
    assert client.wait("notebook", run, "STOPPED", "KILLED", "DONE") == status


@pytest.mark.parametrize("status", ["TERMINATED", "ERROR"])
@pytest.mark.parametrize("action", ["stop", "destroy"])
def test_runs_end_with_their_cluster(client, cluster, job_on_cluster, yeedu_switches, action, status):
    yeedu_switches(lost_cluster_status=status)
    run = client.run_job(job_on_cluster, arguments="60")
    client.wait("spark/job", run, "RUNNING")
    client.post(f"cluster/{action}", {"cluster_id": cluster})
    assert client.wait("spark/job", run) == status
    errors = client.get(client.workspace(f"spark/job/run/{run}/workflow/errors")).json()["data"]
    assert f"The cluster {cluster} is " in errors[0]["error"]


@pytest.mark.parametrize("status", ["ERROR", "TERMINATED"])
def test_a_notebook_whose_kernel_dies_ends_as_asked_for(client, yeedu_mock, yeedu_switches, status):
    yeedu_switches(dead_kernel_status=status)
    run = client.run_notebook(201)
    client.wait("notebook", run, "RUNNING")
    requests.post(f"{yeedu_mock.url}/_control/runs/{run}/kernel/kill", timeout=90)
    assert client.wait("notebook", run) == status


@pytest.mark.parametrize("starts", [True, False])
def test_a_notebook_that_is_stopped_while_its_kernel_starts_ends_once(
    client, yeedu_mock, yeedu_switches, until, monkeypatch, starts
):
    yeedu_switches(stop_delay_seconds=0.5)
    runs, may_go_on = yeedu_mock.mock.runs, threading.Event()
    take = runs._pool.take

    async def take_late(folder):
        while not may_go_on.is_set():
            await asyncio.sleep(0.01)
        if not starts:
            raise TimeoutError("it took too long")
        return await take(folder)

    monkeypatch.setattr(runs._pool, "take", take_late)
    answer = client.post(client.workspace("notebook/run"), {"notebook_id": 201, "is_background": True})
    run_id = answer.json()["run_id"]
    client.post(client.workspace(f"notebook/run/kill/{run_id}"))
    may_go_on.set()
    run = next(run for run in yeedu_mock.mock.store.all(Run) if run.id == run_id)
    until(lambda: not any(task.get_name() == f"stop-{run_id}" for task in runs._tasks.values()))
    words = [state.status for state in run.states]
    assert RunStatus.RUNNING not in words
    assert [word for word in words if word.is_terminal] == words[-1:]
