"""The network between a worker and the rest is cut, on both ways or on one."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import Row
from tests.faults.stack import Stack, YeeduJob, seconds_since
from tests.platforms import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

# Longer than the 90 s after which a run without a heartbeat is taken for dead, and what follows.
PARTITION_SECONDS = 115
FINAL_NAMES = {"Completed", "Failed", "Cancelled"}


def assert_completed_once(stack: Stack, run_id: str, job: YeeduJob) -> None:
    final = [name for name in stack.names(run_id) if name in FINAL_NAMES]
    assert final == ["Completed"], stack.history(run_id)
    assert len(stack.remote_runs(job)) == 1


@contextmanager
def unplugged(stack: Stack, container: str) -> Iterator[None]:
    """Take a container off the platform's network for a while."""
    stack.must("docker", "network", "disconnect", stack.network, container)
    try:
        yield
    finally:
        stack.must("docker", "network", "connect", "--alias", "worker", stack.network, container)


def as_root() -> list[str]:
    """Return what goes before a command so that root runs it; without root or the programs, skip."""
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    try:
        for tool in ("nsenter", "iptables"):
            subprocess.run([*root, tool, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        reason = "needs nsenter and iptables, and root, or sudo that asks for no password"
        (pytest.fail if os.environ.get("REQUIRE_DOCKER") else pytest.skip)(reason)
    return root


@contextmanager
def deaf(stack: Stack, container: str, to: str) -> Iterator[None]:
    """Let nothing of a service reach a container for a while, although what it sends itself arrives."""
    root = as_root()
    process = stack.must("docker", "inspect", "--format", "{{.State.Pid}}", container).strip()
    rule = ["INPUT", "--source", stack.address_of(to), "--jump", "DROP"]
    inside = [*root, "nsenter", f"--net=/proc/{process}/ns/net", "iptables"]
    stack.must(*inside, "--append", *rule)
    try:
        yield
    finally:
        stack.must(*inside, "--delete", *rule)


@pytest.mark.fault(29)
def test_partition_ends_with_one_final_state(stack: Stack, row: Row) -> None:
    row.injected = (
        f"the first of two workers is off the network for {PARTITION_SECONDS} s with a run of its own"
    )
    job = stack.yeedu_job(PARTITION_SECONDS + 45)
    run_id = stack.start_running(job)
    first = stack.container("worker")
    with stack.two_workers():
        with unplugged(stack, first):
            began = time.monotonic()
            wait_for(
                "second start", lambda: stack.names(run_id).count("Running") == 2, PARTITION_SECONDS + 30
            )
            row.held.append(f"started again by the other one after {seconds_since(began)}")
            time.sleep(max(0.0, began + PARTITION_SECONDS - time.monotonic()))
        stack.succeeded(run_id, timeout_seconds=400)
        stack.await_idle_workers()
    assert_completed_once(stack, run_id, job)
    row.held.append("the process of the first one was ended; one final state, Completed; 1 remote run")


@pytest.mark.fault(29)
def test_one_way_partition_costs_time_only(stack: Stack, row: Row) -> None:
    row.injected = (
        "the server's answers do not reach the worker for 45 s, though its requests arrive; a job ends"
    )
    job = stack.yeedu_job(20)
    run_id = stack.start_running(job)
    began = time.monotonic()
    with deaf(stack, stack.container("worker"), to="server"):
        time.sleep(45)  # the length of the partition is what this test is about
    run = stack.succeeded(run_id, timeout_seconds=400)
    assert_completed_once(stack, run_id, job)
    row.held.append(
        f"one final state, Completed, after {seconds_since(began)}, start {run['run_count']}; 1 remote run"
    )


@pytest.mark.fault(8)
def test_half_open_websocket_is_noticed(stack: Stack, row: Row) -> None:
    row.injected = (
        "a notebook's websocket is half-open: for 45 s nothing of Yeedu reaches the worker, no FIN either"
    )
    notebook = stack.yeedu_notebook("import time; time.sleep(20); print('before')", "print('after')")
    run_id = stack.start_running(notebook)
    with deaf(stack, stack.container("worker"), to="yeedu-mock"):
        time.sleep(45)  # the length of the partition is what this test is about
    began = time.monotonic()
    run = stack.succeeded(run_id, timeout_seconds=400)
    assert run["run_count"] == 1
    assert len(stack.remote_runs(notebook)) == 1
    stack.api.log_with(run_id, "[cell 2] after")
    row.held.append(f"Completed {seconds_since(began)} after it was whole again; 1 remote run")
