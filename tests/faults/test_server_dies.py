"""The server, or its database, is away for a while."""

import time

import pytest

from tests.faults.conftest import Row
from tests.faults.stack import Stack, seconds_since
from tests.platforms import JSON, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def limited(stack: Stack, limit: int) -> JSON:
    """Return a deployment that runs at most so many runs at a time."""
    deployment = stack.api.deployments()["run-yeedu-job"]
    body = {
        "name": f"limited-{deployment['id'][:4]}-{limit}",
        "flow_id": deployment["flow_id"],
        "work_pool_name": deployment["work_pool_name"],
        "entrypoint": deployment["entrypoint"],
        "pull_steps": deployment["pull_steps"],
        "concurrency_limit": limit,
    }
    return stack.api.post("deployments/", body)


@pytest.mark.fault(15)
def test_restarted_server_keeps_runs_and_their_limit(stack: Stack, row: Row) -> None:
    row.injected = "docker compose restart server with two runs of a deployment limited to one"
    deployment = limited(stack, 1)
    jobs = [stack.yeedu_job(25) for _ in range(2)]
    runs = [
        stack.api.post(
            f"deployments/{deployment['id']}/create_flow_run",
            {"parameters": {"job_url": job.url}, "state": {"type": "SCHEDULED"}},
        )["id"]
        for job in jobs
    ]
    wait_for("remote run", lambda: [job for job in jobs if stack.remote_runs(job)], 120)
    stack.compose("restart", "server")

    def most_at_once() -> list[JSON] | None:
        active = [run for job in jobs for run in stack.remote_runs(job) if run["run_status"] == "RUNNING"]
        assert len(active) <= 1, "the limit is exceeded"
        ended = [run for job in jobs for run in stack.remote_runs(job) if run["run_status"] == "DONE"]
        return ended if len(ended) == 2 else None

    wait_for("end of both remote runs", most_at_once, 300)
    for run_id in runs:
        run = stack.finished(run_id)
        assert (run["state_type"], run["run_count"]) == ("COMPLETED", 1), stack.history(run_id)
    row.held.append("both Completed at their first start, never two at once")


@pytest.mark.fault(16)
def test_run_that_ends_while_the_server_is_away_gets_its_state(stack: Stack, row: Row) -> None:
    row.injected = "server stopped for 60 s; a Yeedu job of 20 s ends meanwhile"
    job = stack.yeedu_job(20)
    run_id = stack.start_yeedu(job)
    stack.await_remote_run(job)
    stack.compose("stop", "server")
    time.sleep(60)  # the length of the outage is what this test is about
    stack.start_service("server")
    began = time.monotonic()
    run = stack.finished(run_id, timeout_seconds=400)
    assert run["state_type"] == "COMPLETED", stack.history(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(
        f"Completed {seconds_since(began)} after its return, start {run['run_count']}; 1 remote run"
    )


@pytest.mark.fault(17)
def test_restarted_database_needs_no_other_restart(stack: Stack, row: Row) -> None:
    row.injected = "docker compose restart postgres while a flow waits for a Yeedu job"
    job = stack.yeedu_job(20)
    run_id = stack.start_yeedu(job)
    stack.await_remote_run(job)
    stack.compose("restart", "postgres")
    run = stack.finished(run_id)
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 1), stack.history(run_id)
    row.held.append("Completed at its first start")


@pytest.mark.fault(28)
def test_outage_longer_than_the_window_crashes_no_healthy_run(stack: Stack, row: Row) -> None:
    row.injected = "server stopped for 150 s, longer than the 90 s of the heartbeat window; a healthy run"
    job = stack.yeedu_job(330)
    run_id = stack.start_yeedu(job)
    stack.await_remote_run(job)
    stack.compose("stop", "server")
    time.sleep(150)  # the length of the outage is what this test is about
    stack.start_service("server")
    run = stack.finished(run_id, timeout_seconds=500)
    names = stack.names(run_id)
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 1), stack.history(run_id)
    assert "Crashed" not in names
    row.held.append("Completed at its first start, never Crashed")
