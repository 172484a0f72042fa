"""Prefect's database is away, or does not answer for a while."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.conftest import Row
from tests.faults.stack import Stack, seconds_since
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

RESERVE = 20  # connections that are left for migrations, backups and people
LOCK = "BEGIN; LOCK TABLE flow_run IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(40); COMMIT"


def status(stack: Stack, method: str, path: str) -> int:
    return stack.api.ask(method, path, {} if method == "POST" else None).status_code


@pytest.mark.fault(17)
def test_database_that_comes_back_needs_no_other_restart(stack: Stack, row: Row) -> None:
    row.injected = (
        "postgres stopped for 20 s, then restarted once more; a Yeedu job and a command end meanwhile"
    )
    server = stack.started_at("server")
    job = stack.yeedu_job(15)
    run_id = stack.start_yeedu(job)
    command = stack.api.start("run-shell-command", {"command": "sleep 15; echo ended"})
    stack.await_remote_run(job)
    stack.await_state(command, "RUNNING")
    stack.compose("stop", "postgres")
    wait_for("word from /ready", lambda: status(stack, "GET", "ready") == 503, 30)
    assert status(stack, "GET", "health") == 200
    assert status(stack, "POST", "flow_runs/count") == 503
    time.sleep(20)  # the length of the outage is what this test is about
    stack.start_service("postgres")
    stack.compose("restart", "postgres")
    began = time.monotonic()
    wait_for("word from /ready", lambda: status(stack, "GET", "ready") == 200, 60)
    row.held.append(f"/ready: 503 meanwhile, 200 after {seconds_since(began)}; the server was not restarted")
    for ended in (run_id, command):
        assert stack.succeeded(ended)["run_count"] == 1, stack.history(ended)
    assert len(stack.remote_runs(job)) == 1
    row.held.append("both Completed at their first start")
    with stack.ticking("after-the-outage", "print-message", seconds=5) as name:
        ran = wait_for(
            "tick",
            lambda: [run for run in stack.api.runs(name) if run["state_type"] == "COMPLETED"],
            90,
        )
    assert ran[0]["auto_scheduled"]
    row.held.append("the scheduler goes on: a new schedule's tick Completed")
    assert stack.started_at("server") == server


@pytest.mark.fault(18)
def test_database_that_hangs_stalls_nothing_for_good(stack: Stack, row: Row) -> None:
    row.injected = (
        "the table of flow runs locked for 40 s while 40 clients ask, more than the pool has connections"
    )
    job = stack.yeedu_job(10)
    run_id = stack.start_running(job)
    began = time.monotonic()
    with ThreadPoolExecutor(41) as clients:
        lock = clients.submit(stack.sql, LOCK)
        asked = [clients.submit(status, stack, "POST", "flow_runs/count") for _ in range(40)]
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        connections = int(stack.sql(sessions))
        most = int(stack.sql("SHOW max_connections"))
        answers = {one.result() for one in asked}
        lock.result(60)
    assert answers <= {200, 503}
    assert time.monotonic() - began < 90, "a client waited for much longer than the lock was held"
    row.held.append(f"each client had an answer within {seconds_since(began)}: {sorted(answers)}")
    assert connections <= most - RESERVE
    row.held.append(f"{connections} of {most} connections were in use")
    run = stack.succeeded(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"the flow that waited Completed, start {run['run_count']}")
