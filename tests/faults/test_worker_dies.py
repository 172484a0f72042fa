"""The worker, or a flow's process, is stopped or killed."""

import random
import time

import pytest

from tests.faults.conftest import KILLS, Row
from tests.faults.stack import HEARTBEAT_WINDOW_SECONDS, Stack, seconds_since
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.mark.fault(1)
def test_stopped_worker_hands_its_run_over(stack: Stack, row: Row) -> None:
    row.injected = "docker compose stop worker while a flow waits for a Yeedu job of 40 s"
    job = stack.yeedu_job(40)
    run_id = stack.start_yeedu(job)
    stack.await_remote_run(job)
    began = time.monotonic()
    stack.compose("stop", "worker")
    state = stack.state(run_id)
    row.held.append(f"{state['name']} after {seconds_since(began)}: {state['message']}")
    assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry"), stack.history(run_id)
    assert stack.unfinished() == []
    stack.start_service("worker")
    run = stack.finished(run_id)
    assert run["state_type"] == "COMPLETED", stack.history(run_id)
    assert "Crashed" not in stack.names(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"Completed by the next worker, start {run['run_count']}; 1 remote run")


@pytest.mark.fault(2)
@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_worker_leaves_no_run_behind(stack: Stack, row: Row, kill: int) -> None:
    delay_seconds = random.uniform(0, 20)
    row.injected = f"SIGKILL of the worker {delay_seconds:.1f} s after a Yeedu job of 30 s was started"
    job = stack.yeedu_job(30)
    run_id = stack.start_yeedu(job)
    time.sleep(delay_seconds)  # the moment of the kill is what this test is about
    began = time.monotonic()
    before = stack.state(run_id)
    stack.kill("worker")
    stack.start_service("worker")
    if before["type"] == "RUNNING":
        state = stack.await_state(
            run_id, "CRASHED", "AwaitingRetry", "COMPLETED", timeout_seconds=HEARTBEAT_WINDOW_SECONDS + 30
        )
        row.held.append(f"{before['name']} -> {state['name']} after {seconds_since(began)}")
    run = stack.finished(run_id, timeout_seconds=400)
    assert run["state_type"] == "COMPLETED", stack.history(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"Completed after {seconds_since(began)}, start {run['run_count']}; 1 remote run")


@pytest.mark.fault(3)
def test_worker_killed_before_the_flow_began(stack: Stack, row: Row) -> None:
    row.injected = "SIGKILL of the worker while the flow's repository is cloned (git-server frozen)"
    job = stack.yeedu_job(1)
    with stack.paused("git-server"):
        run_id = stack.start_yeedu(job)
        stack.await_state(run_id, "PENDING")
        began = time.monotonic()
        stack.kill("worker")
    stack.start_service("worker")
    stack.await_state(run_id, "AwaitingRetry", "COMPLETED", timeout_seconds=120)
    run = stack.finished(run_id)
    assert run["state_type"] == "COMPLETED", stack.history(run_id)
    assert any("put back to its queue" in line for line in stack.history(run_id))
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"back in its queue, and Completed after {seconds_since(began)}; 1 remote run")


@pytest.mark.fault(5)
@pytest.mark.parametrize("kill", range(KILLS))
def test_process_killed_between_submission_and_record(stack: Stack, row: Row, kill: int) -> None:
    row.injected = "SIGKILL of the worker after Yeedu has taken a job and before it answers"
    job = stack.yeedu_job(20)
    stack.control("POST", "faults", {"path": "spark/job/run$", "method": "POST", "drop": "after"})
    run_id = stack.start_yeedu(job)
    wait_for("submitted job", lambda: stack.remote_runs(job), 120, 0.02)
    stack.kill("worker")
    stack.control("DELETE", "faults")
    stack.start_service("worker")
    run = stack.finished(run_id, timeout_seconds=400)
    assert run["state_type"] == "COMPLETED", stack.history(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"Completed, start {run['run_count']}; 1 remote run")


@pytest.mark.fault(6)
@pytest.mark.parametrize("loss", range(KILLS))
def test_answer_to_a_submission_is_lost(stack: Stack, row: Row, loss: int) -> None:
    row.injected = "the connection drops after Yeedu has taken a job, in place of the answer"
    job = stack.yeedu_job(2)
    stack.control("POST", "faults", {"path": "spark/job/run$", "method": "POST", "drop": "after"})
    try:
        run_id = stack.start_yeedu(job)
        run = stack.finished(run_id)
    finally:
        left = stack.control("GET", "faults")
        stack.control("DELETE", "faults")
    assert left == [], "the fault was not met"
    assert run["state_type"] == "COMPLETED", stack.history(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append("Completed; 1 remote run")


@pytest.mark.fault(31)
def test_two_workers_of_one_name_run_nothing_twice(stack: Stack, row: Row) -> None:
    row.injected = "two workers with one name; eight runs"
    stack.compose("up", "--detach", "--no-recreate", "--no-build", "--scale", "worker=2", "worker")
    try:
        jobs = [stack.yeedu_job(1) for _ in range(8)]
        runs = [stack.start_yeedu(job) for job in jobs]
        for run_id, job in zip(runs, jobs, strict=True):
            run = stack.finished(run_id)
            assert run["state_type"] == "COMPLETED", stack.history(run_id)
            assert run["run_count"] == 1
            assert len(stack.remote_runs(job)) == 1
    finally:
        stack.compose("up", "--detach", "--no-recreate", "--no-build", "--scale", "worker=1", "worker")
    row.held.append("each run started once, Completed")
