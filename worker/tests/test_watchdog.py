"""A worker that hangs or is killed works again soon, and whoever looks after it is told."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect_processes import OURS, PrefectServer, Worker, commit, worker

from tests.platforms import wait_for
from yeedu_worker.process_tree import children_by_parent

FLOWS = """
import time
from prefect import flow

@flow
def wait(seconds: float = 0):
    time.sleep(seconds)
"""


@pytest.fixture(scope="module")
def deployment(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("watched")
    commit(folder / "repository", {"flows.py": FLOWS})
    server.make_pool("watched", OURS)
    return server.deploy(
        "watched", "flows.py:wait", (folder / "repository").as_uri(), work_pool_name="watched"
    )


@pytest.fixture
def running(server: PrefectServer, deployment: str, tmp_path: Path) -> Iterator[Worker]:
    with worker(server, "watched", tmp_path / "worker", WORKER_HUNG_SECONDS="15") as started:
        yield started
        started.process.terminate()
        started.process.wait(60)
        for left in started.temporary.glob("tmp*prefect"):  # young ones of a worker that was killed
            shutil.rmtree(left)


def own_process(running: Worker) -> int:
    children = {child.number for child in children_by_parent()[running.process.pid]}
    [number] = children.intersection(running.processes("yeedu_worker.serve"))  # it forks, and starts others
    return number


@pytest.mark.long
def test_worker_that_hangs_is_started_again(server: PrefectServer, running: Worker, deployment: str) -> None:
    going = server.start_run(deployment, {"seconds": 600})
    server.await_state(going, "RUNNING")
    hung = own_process(running)
    os.kill(hung, signal.SIGSTOP)
    run = server.start_run(deployment)
    assert server.await_state(run, timeout_seconds=90)["state_type"] == "COMPLETED"
    assert own_process(running) != hung
    assert "no sign of life for 1" in running.log
    wait_for("end of what the worker had", lambda: not running.of_runs(), 60, 0.1)


@pytest.mark.long
def test_worker_that_is_killed_is_started_again(
    server: PrefectServer, running: Worker, deployment: str
) -> None:
    os.kill(own_process(running), signal.SIGKILL)
    run = server.start_run(deployment)
    assert server.await_state(run)["state_type"] == "COMPLETED"
    assert "killed by signal 9, and its flow runs with it; restarting" in running.log


def test_killed_parent_of_the_prefork_server_is_no_secret(running: Worker) -> None:
    """Docker, a service manager or `make up` starts the worker again, with nothing left of it."""
    server = running.prefork_server()
    parent = next(
        number
        for number, children in children_by_parent().items()
        if server in {child.number for child in children}
    )
    os.kill(parent, signal.SIGKILL)
    assert running.process.wait(60) == -signal.SIGKILL
    wait_for("end of all processes", lambda: not running.processes(), 60, 0.1)
    for left in running.temporary.glob("yeedu-prefork-*/socket"):
        left.unlink()
        left.parent.rmdir()


@pytest.mark.long
def test_worker_that_is_told_to_stop_while_it_hangs_is_ended(running: Worker) -> None:
    os.kill(own_process(running), signal.SIGSTOP)
    running.process.terminate()
    assert running.process.wait(60) == -signal.SIGKILL


@pytest.mark.long
def test_pause_of_all_of_it_is_no_hang(server: PrefectServer, running: Worker, deployment: str) -> None:
    """As `docker pause`, or a machine that sleeps, for longer than a worker may be silent."""
    before = own_process(running)
    everything = list(running.processes())
    for number in everything:
        os.kill(number, signal.SIGSTOP)
    time.sleep(18)
    for number in everything:
        os.kill(number, signal.SIGCONT)
    run = server.start_run(deployment)
    assert server.await_state(run)["state_type"] == "COMPLETED"
    assert own_process(running) == before
