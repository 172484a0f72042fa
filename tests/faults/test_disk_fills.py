"""A disk is full for a while: the database's, and the worker's /tmp."""

import time

import pytest

from tests.faults.conftest import Row
from tests.faults.stack import Stack, seconds_since
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

DATABASE_FILLER = "/var/lib/postgresql/data/filler"
WORKER_FILLER = "/tmp/filler"
LEFT = "/tmp/tmpleftprefect/flows"


def fill(stack: Stack, service: str, file: str) -> None:
    """Write until the disk is full; a new table or folder needs some bytes more than are left."""
    stack.inside(
        service, "sh", "-c", f"dd if=/dev/zero of={file} bs=64k 2>/dev/null; df {file} | grep -q 100%"
    )


@pytest.mark.fault(19)
def test_full_database_disk_is_survived(stack: Stack, row: Row) -> None:
    row.injected = "the database's disk is full for as long as it takes to notice; a Yeedu job ends meanwhile"
    job = stack.yeedu_job(10)
    run_id = stack.start_running(job)
    line = {"name": "filler", "level": 20, "message": "x" * 10_000, "timestamp": "2026-01-01T00:00:00Z"}

    def write() -> int:
        """Write more than fits into what the database has of its disk already."""
        return stack.api.ask("POST", "logs/", [{**line, "flow_run_id": run_id}] * 50).status_code

    fill(stack, "postgres", DATABASE_FILLER)
    try:
        refused = wait_for("refused write", lambda: (answer := write()) >= 500 and answer, 120, 0.01)
    finally:
        stack.inside("postgres", "rm", DATABASE_FILLER)
    began = time.monotonic()
    wait_for("accepted write", lambda: write() < 300, 120)
    row.held.append(
        f"writes were answered {refused}, and accepted {seconds_since(began)} after there was room"
    )
    run = stack.succeeded(run_id, timeout_seconds=400)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"the flow that waited Completed, start {run['run_count']}")


@pytest.mark.fault(19)
def test_full_worker_disk_fails_runs_with_the_reason(stack: Stack, row: Row) -> None:
    row.injected = "the worker's /tmp is full, and has the folder of a flow run that nobody deleted"
    started = stack.started_at("worker")
    stack.inside("worker", "mkdir", "--parents", LEFT)
    fill(stack, "worker", WORKER_FILLER)
    try:
        run, told = stack.failed(stack.api.start("print-message"))
    finally:
        stack.inside("worker", "rm", "-f", WORKER_FILLER)  # the worker may have deleted it itself by now
    assert "No space left on device" in told, told
    row.held.append(f"{run['state_name']}: {run['state']['message'][:150]}")
    assert stack.api.run("print-message")["state_type"] == "COMPLETED"
    stack.await_idle_workers()
    assert stack.started_at("worker") == started
    row.held.append(
        "the next run Completed when there was room; no folder is left, the worker was not restarted"
    )
