"""Yeedu answers badly, late, or not at all."""

import time
from itertools import pairwise

import pytest

from tests.e2e.secret_hunt import secrets_of
from tests.faults.conftest import OUTAGE_SECONDS, Row
from tests.faults.stack import Stack, seconds_since
from tests.platforms import JSON

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900 + OUTAGE_SECONDS)]

SUBMISSION = {"path": "spark/job/run$", "method": "POST"}
EVERYTHING = {"path": "/api/v1/", "times": None}
CELLS = ["print('first')", "import time; time.sleep(1); print('second')", "print('third')"]


JOB_OUTPUT = ["[stdout] result"]
CELL_OUTPUTS = ["[cell 1] first", "[cell 2] second", "[cell 3] third"]


def outputs(stack: Stack, run_id: str, wanted: list[str]) -> list[str]:
    """Return what of the wanted output is in the run's log, in its order."""
    return [line for line in stack.api.log_with(run_id, wanted[-1]).splitlines() if line in wanted]


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ("429 with Retry-After: 3, twice", {"status": 429, "headers": {"Retry-After": "3"}, "times": 2}),
        ("503 with Retry-After: 3", {"status": 503, "headers": {"Retry-After": "3"}}),
        ("201 with something that is not JSON", {"status": 201, "text": "<html>"}),
        ("201 without the run", {"status": 201, "body": {"message": "done"}}),
        ("nothing for 30 s", {"delay_seconds": 30}),
    ],
)
def test_bad_answer_to_a_submission_is_overcome(stack: Stack, row: Row, answers: str, fault: JSON) -> None:
    row.injected = f"a submission is answered {answers}"
    job = stack.yeedu_job(1)
    since = stack.last_request()
    with stack.yeedu_faults({**SUBMISSION, **fault}):
        run_id = stack.start_yeedu(job)
        run = stack.succeeded(run_id)
        assert stack.control("GET", "faults") == [], "the fault was not met"
    assert run["run_count"] == 1
    assert len(stack.remote_runs(job)) == 1
    asked = [entry["at_seconds"] for entry in stack.submissions(since)]
    assert len(asked) == 1 + fault.get("times", 1) - ("delay_seconds" in fault)
    if "headers" in fault:
        gaps = [later - sooner for sooner, later in pairwise(asked)]
        assert min(gaps) >= 3
    row.held.append(f"Completed after {len(asked)} submissions; 1 remote run")


@pytest.mark.fault(7)
def test_submission_that_always_fails_ends_in_a_clear_failure(stack: Stack, row: Row) -> None:
    row.injected = "every submission is answered 500"
    job = stack.yeedu_job(1)
    since = stack.last_request()
    began = time.monotonic()
    with stack.yeedu_faults({**SUBMISSION, "status": 500, "times": None}):
        run_id = stack.start_yeedu(job)
        run = stack.finished(run_id)
    assert run["state_type"] == "FAILED", stack.history(run_id)
    assert "500" in run["state"]["message"]
    assert stack.remote_runs(job) == []
    row.held.append(
        f"Failed after {seconds_since(began)} and {len(stack.submissions(since))} submissions: "
        f"{run['state']['message'].splitlines()[0][:110]}"
    )


@pytest.mark.fault(8)
def test_lost_websockets_lose_no_cell(stack: Stack, row: Row) -> None:
    row.injected = "a notebook's websocket is refused twice, then dropped twice after five messages"
    notebook = stack.yeedu_notebook(*CELLS)
    refusal = {"path": "/kernel/", "method": "WS", "status": 503, "times": 2}
    stack.control("PATCH", "switches", {"websocket_drop_after_messages": 5, "websocket_drops": 2})
    with stack.yeedu_faults(refusal):
        run_id = stack.start_yeedu(notebook)
        run = stack.succeeded(run_id)
        assert stack.control("GET", "faults") == [], "the fault was not met"
    assert stack.control("GET", "switches")["websocket_drops"] == 0, "the websocket was not dropped"
    assert run["run_count"] == 1
    log = stack.api.log_with(run_id, "Finished in state")
    # A kernel says nothing twice: what it printed while nobody was connected is lost, but not in silence.
    missing = [text for text in CELL_OUTPUTS if text not in log]
    for text in missing:
        cell = text.partition("]")[0].strip("[")
        assert f"lost while {cell} was executed" in log, log
    row.held.append(f"Completed, every cell executed once; outputs said to be missing: {missing or 'none'}")


@pytest.mark.fault(9)
@pytest.mark.parametrize("order", ["reply_first", "idle_first"])
def test_repeated_and_disordered_messages_change_nothing(stack: Stack, row: Row, order: str) -> None:
    row.injected = f"a kernel sends every message twice, in the order {order}"
    notebook = stack.yeedu_notebook(*CELLS)
    stack.control("PATCH", "switches", {"websocket_duplicates": True, "websocket_order": order})
    try:
        run_id = stack.start_yeedu(notebook)
        stack.succeeded(run_id)
    finally:
        stack.control("PATCH", "switches", {"websocket_duplicates": False, "websocket_order": "as_published"})
    assert outputs(stack, run_id, CELL_OUTPUTS) == CELL_OUTPUTS
    row.held.append("Completed; every cell's output once")


@pytest.mark.fault(9)
def test_unknown_state_ends_nothing(stack: Stack, row: Row) -> None:
    row.injected = "Yeedu says five times that a running job's state is HIBERNATING, which nobody knows"
    job = stack.yeedu_job(6)
    run_id = stack.start_running(job)
    [remote] = stack.remote_runs(job)
    answer = {"run_id": remote["run_id"], "run_status": "HIBERNATING"}
    path = f"spark/job/run/{remote['run_id']}$"
    with stack.yeedu_faults({"path": path, "method": "GET", "status": 200, "body": answer, "times": 5}):
        stack.succeeded(run_id)
        assert stack.control("GET", "faults") == [], "the fault was not met"
    assert outputs(stack, run_id, JOB_OUTPUT) == JOB_OUTPUT
    row.held.append("Completed, with the job's output")


@pytest.mark.fault(10, 11)
def test_yeedu_that_is_away_is_waited_for(stack: Stack, row: Row) -> None:
    row.injected = (
        f"Yeedu drops every connection for {OUTAGE_SECONDS:.0f} s; one job ends meanwhile, one later"
    )
    jobs = [stack.yeedu_job(OUTAGE_SECONDS / 3), stack.yeedu_job(OUTAGE_SECONDS + 10)]
    runs = [stack.start_yeedu(job) for job in jobs]
    for job in jobs:
        stack.await_remote_run(job)
    with stack.yeedu_faults({**EVERYTHING, "drop": "before"}):
        time.sleep(OUTAGE_SECONDS)  # the length of the outage is what this test is about
        [ended] = stack.remote_runs(jobs[0])
        assert ended["run_status"] == "DONE"
    began = time.monotonic()
    for run_id, job in zip(runs, jobs, strict=True):
        run = stack.succeeded(run_id)
        assert run["run_count"] == 1, stack.history(run_id)
        assert len(stack.remote_runs(job)) == 1
        assert outputs(stack, run_id, JOB_OUTPUT) == JOB_OUTPUT
    beats = [stack.heartbeats(run_id) for run_id in runs]
    gaps = [later - sooner for times in beats for sooner, later in pairwise(times)]
    assert max(gap.total_seconds() for gap in gaps) < 60
    row.held.append(
        f"both Completed within {seconds_since(began)}, with their logs; heartbeats went on; no resubmission"
    )


@pytest.mark.fault(12)
@pytest.mark.short
def test_expired_session_is_renewed(stack: Stack, row: Row) -> None:
    row.injected = "every Yeedu session expires while a job runs"
    job = stack.yeedu_job(8)
    run_id = stack.start_running(job)
    since = stack.last_request()
    stack.control("POST", "sessions/expire")
    assert stack.succeeded(run_id)["run_count"] == 1
    asked = stack.control("GET", f"journal?since={since}")
    assert len([entry for entry in asked if entry["path"].endswith("/login")]) == 1
    row.held.append("Completed after one more login")


@pytest.mark.fault(12)
def test_revoked_account_fails_with_a_clear_message(stack: Stack, row: Row) -> None:
    row.injected = "every Yeedu session expires while a job runs, and the login is refused"
    job = stack.yeedu_job(300)
    run_id = stack.start_running(job)
    with stack.yeedu_faults({"path": "/login$", "method": "POST", "status": 401, "times": None}):
        stack.control("POST", "sessions/expire")
        run = stack.finished(run_id)
    assert run["state_type"] == "FAILED", stack.history(run_id)
    assert "refuses the user name" in run["state"]["message"]
    [password] = {value for name, value in secrets_of(stack).items() if name.endswith("yeedu-password")}
    assert password not in run["state"]["message"] + stack.api.log(run_id)
    assert len(stack.remote_runs(job)) == 1
    row.held.append(f"Failed: {run['state']['message'].splitlines()[0][:120]}")
