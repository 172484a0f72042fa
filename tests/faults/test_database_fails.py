"""Prefect's database is away, or does not answer for a while."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults.conftest import Row
from tests.faults.stack import SECRETS, Stack, seconds_since
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

RESERVE = 20  # connections that are left for migrations, backups and people
LOCK = "BEGIN; LOCK TABLE flow_run IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(40); COMMIT"


def psql(stack: Stack, statement: str) -> list[str]:
    return [*("docker", "compose", "exec", "-T", "postgres", "psql", "-U", "prefect", "-Atqc"), statement]


def status(stack: Stack, method: str, path: str) -> int:
    """Ask once, unlike `stack.api`, and return how the server answers."""
    login = tuple(SECRETS["PREFECT_API_AUTH_STRING"].split(":"))
    body = {} if method == "POST" else None
    return requests.request(method, f"{stack.api.url}/{path}", json=body, auth=login, timeout=100).status_code


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
        run = stack.finished(ended)
        assert (run["state_type"], run["run_count"]) == ("COMPLETED", 1), stack.history(ended)
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
    run_id = stack.start_yeedu(job)
    stack.await_remote_run(job)
    lock = subprocess.Popen(psql(stack, LOCK), cwd=stack.checkout, env=stack.environment)
    began = time.monotonic()
    with ThreadPoolExecutor(40) as clients:
        asked = [clients.submit(status, stack, "POST", "flow_runs/count") for _ in range(40)]
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        connections = int(stack.must(*psql(stack, sessions)))
        most = int(stack.must(*psql(stack, "SHOW max_connections")))
        answers = {one.result() for one in asked}
    assert lock.wait(60) == 0
    assert answers <= {200, 500, 503}
    row.held.append(f"each client had an answer within {seconds_since(began)}: {sorted(answers)}")
    assert connections <= most - RESERVE
    row.held.append(f"{connections} of {most} connections were in use")
    run = stack.finished(run_id)
    assert run["state_type"] == "COMPLETED", stack.history(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"the flow that waited Completed, start {run['run_count']}")
