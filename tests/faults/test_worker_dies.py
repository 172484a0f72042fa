"""The worker, or a flow's process, is stopped or killed: FAULT_KILLS times, each at a random moment."""

import random
import time

import pytest

from tests.faults.conftest import KILLS, Row
from tests.faults.flights import RUNS, Flights
from tests.faults.stack import Stack
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200 + 60 * KILLS)]

SUBMISSION = {"path": "spark/job/run$", "method": "POST", "drop": "after"}
SEARCH = {"path": "spark/job/runs$", "method": "GET", "delay_seconds": 60, "times": None}

FLOW = "flows/print_message.py"
EAT = "print(len([b'x' * 2**28 for _ in range(64)]))"  # 16 GiB; the worker may have 4


@pytest.fixture
def flights(stack: Stack) -> Flights:
    return Flights(stack)


@pytest.mark.fault(1)
@pytest.mark.short
def test_stopped_worker_hands_its_runs_over(stack: Stack, flights: Flights, row: Row) -> None:
    row.injected = f"{KILLS} x docker compose stop worker, 0 to 8 s after {RUNS} flow runs were started"
    for number in range(KILLS):
        is_last = number == KILLS - 1  # which is sure to hit some that go on for longer than they may
        flights.start(longest_seconds=40 if is_last else 20, shortest_seconds=30 if is_last else 0.5)
        if is_last:
            flights.await_running()
        time.sleep(random.uniform(0, 8))  # the moment of the stop is what this test is about
        stack.compose("stop", "worker")
        assert stack.unfinished() == [], "a run is left without a process"
        stack.start_service("worker")
    row.held.append(flights.land())
    for run_id in flights.runs:
        assert "Crashed" not in stack.names(run_id), stack.history(run_id)
    handed_over = [run_id for run_id in flights.runs if "AwaitingRetry" in stack.names(run_id)]
    assert handed_over
    row.held.append(f"{len(handed_over)} were handed over to the next worker, none Crashed")


@pytest.mark.fault(2)
def test_killed_worker_leaves_no_run_behind(stack: Stack, flights: Flights, row: Row) -> None:
    row.injected = f"{KILLS} x SIGKILL of the worker, 0 to 12 s after {RUNS} flow runs were started"
    foreign = stack.foreign_runs()
    for number in range(KILLS):
        is_last = number == KILLS - 1  # which is sure to hit one that is Running
        flights.start(longest_seconds=15, shortest_seconds=13 if is_last else 0.5)
        if is_last:
            flights.await_running()
        time.sleep(random.uniform(0, 12))  # the moment of the kill is what this test is about
        flights.kill_worker()
        stack.start_service("worker")
    row.held.append(flights.land(beside=foreign))
    row.held.append(flights.recovery())
    assert {run_id: stack.state(run_id)["name"] for run_id in foreign} == foreign
    row.held.append(f"{len(foreign)} runs of another team's workers beside them were left alone")
    for run_id in foreign:
        stack.api.delete(f"flow_runs/{run_id}")


@pytest.mark.fault(3)
def test_worker_killed_before_the_flow_began(stack: Stack, flights: Flights, row: Row) -> None:
    row.injected = f"{KILLS} x SIGKILL of the worker while {RUNS} runs clone their flow (git-server frozen)"
    for _ in range(KILLS):
        flights.await_room()
        with stack.paused("git-server"):
            flights.start(longest_seconds=1)
            first = next(reversed(flights.runs))
            stack.await_state(first, "PENDING")
            time.sleep(random.uniform(0, 2))  # the moment of the kill is what this test is about
            flights.kill_worker()
        stack.start_service("worker")
    row.held.append(flights.land())
    back = [
        run_id
        for run_id in flights.runs
        if any("put back to its queue" in line for line in stack.history(run_id))
    ]
    assert back
    row.held.append(f"{len(back)} were put back to their queue")


@pytest.mark.fault(4)
def test_flow_that_takes_all_memory_ends_alone(stack: Stack, row: Row) -> None:
    row.injected = "a flow, then a shell command, takes more memory than the worker may have"
    beside = stack.start_running(stack.yeedu_job(30))
    began = stack.started_at("worker")
    stack.deploy_copy("hungry", "print-message", tags=[])
    with stack.edited(FLOW, "print(message)", EAT):
        run, told = stack.failed(stack.api.start("hungry"))
    assert "SIGKILL" in told, told
    row.held.append(f"flow: {run['state_name']}: {run['state']['message'].partition(' Typically')[0]}")
    run, told = stack.failed(stack.api.start("run-shell-command", {"command": f'exec python -c "{EAT}"'}))
    assert "was ended by signal 9 (SIGKILL)" in told, told
    row.held.append(f"command: {run['state_name']}: was ended by signal 9 (SIGKILL)")
    assert stack.succeeded(beside)["run_count"] == 1
    assert stack.started_at("worker") == began
    row.held.append("a run beside them Completed at its first start; the worker was not restarted")


@pytest.mark.fault(5)
def test_process_killed_between_submission_and_record(stack: Stack, flights: Flights, row: Row) -> None:
    row.injected = (
        f"{KILLS} x SIGKILL of the worker after Yeedu has taken {RUNS} jobs, before their ids are known"
    )
    for _ in range(KILLS):
        flights.await_room()
        with stack.yeedu_faults({**SUBMISSION, "times": RUNS}, SEARCH):
            jobs = flights.start(longest_seconds=10)
            wait_for("submitted jobs", lambda jobs=jobs: all(map(stack.remote_runs, jobs)), 120, 0.05)
            time.sleep(random.uniform(0, 1))  # the moment of the kill is what this test is about
            flights.kill_worker()
        stack.start_service("worker")
    row.held.append(flights.land())
    row.held.append(flights.recovery())


@pytest.mark.fault(6)
@pytest.mark.short
def test_answer_to_a_submission_is_lost(stack: Stack, flights: Flights, row: Row) -> None:
    row.injected = (
        f"{KILLS * RUNS} x the connection drops after Yeedu has taken a job, in place of the answer"
    )
    with stack.yeedu_faults({**SUBMISSION, "times": KILLS * RUNS}):
        for _ in range(KILLS):
            flights.start(longest_seconds=2)
        row.held.append(flights.land())
        assert stack.control("GET", "faults") == [], "the fault was not met"


@pytest.mark.fault(31)
def test_two_workers_of_one_name_run_nothing_twice(stack: Stack, flights: Flights, row: Row) -> None:
    row.injected = f"two workers with one name; {4 * RUNS} runs"
    with stack.two_workers():
        for _ in range(4):
            flights.start(longest_seconds=1)
        row.held.append(flights.land())
    for run_id in flights.runs:
        assert stack.api.get(f"flow_runs/{run_id}")["run_count"] == 1, stack.history(run_id)
    row.held.append("each run was started once")
