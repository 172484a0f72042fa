"""The Prefect server is away for a while."""

import time

import pytest

from tests.faults.conftest import OUTAGE_SECONDS, Row
from tests.faults.stack import Stack, seconds_since
from tests.platforms import JSON, wait_for

LONG_OUTAGE_SECONDS = max(300.0, OUTAGE_SECONDS)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900 + LONG_OUTAGE_SECONDS)]


def server_is_away(stack: Stack, seconds: float) -> None:
    stack.compose("stop", "server")
    time.sleep(seconds)  # the length of the outage is what these tests are about
    stack.start_service("server")


@pytest.mark.fault(15)
def test_restarted_server_keeps_runs_and_their_limit(stack: Stack, row: Row) -> None:
    row.injected = "docker compose restart server with two runs of a deployment limited to one"
    stack.deploy_copy("limited", "run-yeedu-job", concurrency_limit=1)
    jobs = [stack.yeedu_job(25) for _ in range(2)]
    runs = [stack.start_yeedu(job, "limited") for job in jobs]
    wait_for("remote run", lambda: [job for job in jobs if stack.remote_runs(job)], 120)
    assert sum(stack.slots_taken().values()) == 1
    stack.compose("restart", "server")

    def most_at_once() -> list[JSON] | None:
        active = [run for job in jobs for run in stack.remote_runs(job) if run["run_status"] == "RUNNING"]
        assert len(active) <= 1, "the limit is exceeded"
        ended = [run for job in jobs for run in stack.remote_runs(job) if run["run_status"] == "DONE"]
        return ended if len(ended) == 2 else None

    wait_for("end of both remote runs", most_at_once, 300)
    for run_id in runs:
        assert stack.succeeded(run_id)["run_count"] == 1, stack.history(run_id)
    wait_for("free slot", lambda: not stack.slots_taken(), 30)
    row.held.append("both Completed at their first start, never two at once; no slot taken")


@pytest.mark.fault(16)
def test_run_that_ends_while_the_server_is_away_gets_its_state(stack: Stack, row: Row) -> None:
    row.injected = "server stopped for 30 s; a Yeedu job of 10 s ends meanwhile"
    job = stack.yeedu_job(10)
    run_id = stack.start_running(job)
    server_is_away(stack, 30)
    began = time.monotonic()
    run = stack.succeeded(run_id, timeout_seconds=400)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(
        f"Completed {seconds_since(began)} after its return, start {run['run_count']}; 1 remote run"
    )


@pytest.mark.fault(16, 28)
def test_outage_longer_than_the_window_loses_nothing(stack: Stack, row: Row) -> None:
    minutes = LONG_OUTAGE_SECONDS / 60
    row.injected = (
        f"server stopped for {minutes:.0f} minutes; one Yeedu job and a command end meanwhile, one job later"
    )
    ending, lasting = stack.yeedu_job(30), stack.yeedu_job(LONG_OUTAGE_SECONDS + 60)
    runs = {job: stack.start_yeedu(job) for job in (ending, lasting)}
    command = stack.api.start("run-shell-command", {"command": "sleep 30; echo ended"})
    for job in runs:
        stack.await_remote_run(job)
    stack.await_state(command, "RUNNING")
    server_is_away(stack, LONG_OUTAGE_SECONDS)
    began = time.monotonic()
    for job, run_id in runs.items():
        run = stack.succeeded(run_id, timeout_seconds=500)
        assert len(stack.remote_runs(job)) == 1
        row.held.append(
            f"Yeedu job: Completed {seconds_since(began)} after its return, start {run['run_count']}"
        )
    assert "Crashed" not in stack.names(runs[lasting]), stack.history(runs[lasting])
    assert stack.succeeded(command, timeout_seconds=300)["run_count"] == 1, stack.history(command)
    row.held.append(f"command: Completed {seconds_since(began)} after its return, start 1")
    assert stack.unfinished() == []
