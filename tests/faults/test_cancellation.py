"""Flow runs are cancelled, with and without a worker."""

import time

import pytest

from tests.faults.conftest import Row
from tests.faults.stack import Stack, seconds_since
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

KILL_SECONDS = 30  # after which Prefect kills a flow run's process, which stops its remote run no more


def cancel(stack: Stack, run_id: str) -> None:
    stack.api.post(f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})


@pytest.mark.fault(13)
def test_cancelled_flow_stops_its_remote_run(stack: Stack, row: Row) -> None:
    row.injected = "a flow run is cancelled in the UI while its Yeedu job runs"
    job = stack.yeedu_job(300)
    run_id = stack.start_running(job)
    since, began = stack.last_request(), time.monotonic()
    cancel(stack, run_id)
    stack.await_state(run_id, "CANCELLED", timeout_seconds=KILL_SECONDS)
    [remote] = wait_for(
        "stopped remote run",
        lambda: [run for run in stack.remote_runs(job) if run["run_status"] in {"STOPPED", "TERMINATED"}],
        began + KILL_SECONDS - time.monotonic(),
    )
    assert time.monotonic() - began <= KILL_SECONDS
    asked = stack.stops(since)
    assert [entry["path"].rpartition("/")[2] for entry in asked] == [str(remote["run_id"])], asked
    row.held.append(
        f"Cancelled and the remote run {remote['run_status']} after {seconds_since(began)}, asked once"
    )


@pytest.mark.fault(14)
def test_cancelled_flow_without_a_worker_is_cancelled_all_the_same(stack: Stack, row: Row) -> None:
    row.injected = "the worker is killed, then its flow run is cancelled"
    job = stack.yeedu_job(900)
    run_id = stack.start_running(job)
    began = time.monotonic()
    stack.kill("worker")
    cancel(stack, run_id)
    try:
        stack.await_state(run_id, "CANCELLED", timeout_seconds=200)
        row.held.append(f"Cancelled after {seconds_since(began)}")
    finally:
        stack.start_service("worker")
    wait_for(
        "stopped remote run",
        lambda: [run for run in stack.remote_runs(job) if run["run_status"] == "STOPPED"],
        240,
    )
    row.held.append(
        f"the worker that came back stopped the remote run, {seconds_since(began)} after the kill"
    )
