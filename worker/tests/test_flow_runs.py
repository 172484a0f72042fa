"""What happens to flow runs on a real worker: the same with the stock command and with the prefork server."""

import os
import random
import secrets
import signal
import time
from collections.abc import Iterator

import pytest
from prefect_processes import OURS, STOCK, PrefectServer, Worker, commit, worker

from tests.platforms import wait_for

pytestmark = pytest.mark.long

CANCELLATIONS = int(os.environ.get("WORKER_CANCELLATIONS", "6"))
FLOWS = """
import os, resource, signal, subprocess, sys, time
from pathlib import Path
from prefect import flow, task

@flow(log_prints=True)
def wait(seconds: float = 600.0, mark: str = "", is_tidy: bool = True):
    child = subprocess.Popen(["sleep", "600"]) if mark else None
    print("waiting", mark)
    try:
        time.sleep(seconds)
    finally:
        if child and is_tidy:
            child.kill()
            child.wait()

@flow
def leave(how: str):
    print("before the end", flush=True)
    if how.startswith("exit"):
        os._exit(int(how.split()[1]))
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(60)

@flow
def eat():
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    bytearray(2**32)

@flow(log_prints=True)
def speak(text: str):
    print(text)
    print(text[::-1], file=sys.stderr)
    subprocess.run(["echo", text.upper()])
    time.sleep(600)
"""
ENTRYPOINTS = ("wait", "leave", "eat", "speak")


@pytest.fixture(scope="module", params=["stock", "ours"])
def running(
    request: pytest.FixtureRequest, server: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Worker, dict[str, str]]]:
    """A worker of each kind, and its deployments."""
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    pool = f"runs-{kind}"
    commit(folder / "repository", {"flows.py": FLOWS})
    server.make_pool(pool, STOCK if kind == "stock" else OURS)
    deployments = {
        name: server.deploy(
            f"{name}-{kind}", f"flows.py:{name}", (folder / "repository").as_uri(), work_pool_name=pool
        )
        for name in ENTRYPOINTS
    }
    prefork = "true" if kind == "ours" else "false"
    with worker(server, pool, folder / "worker", WORKER_PREFORK=prefork) as started:
        yield started, deployments


def test_output_of_a_run_reaches_the_workers_log_while_it_runs(
    server: PrefectServer, running: tuple[Worker, dict[str, str]]
) -> None:
    started, deployments = running
    text = f"text {secrets.token_hex(8)}"
    run = server.start_run(deployments["speak"], {"text": text})
    for line in (text, text[::-1], text.upper()):
        started.await_log(line)
    assert server.state(run) == "RUNNING"
    if started.has_prefork:
        assert len(started.processes("prefork.server")) == 3, "the server, a guard, and the run as its child"
    server.cancel(run)
    assert server.await_state(run)["state_type"] == "CANCELLED"


@pytest.mark.parametrize(
    ("how", "status"), [("exit 3", 3), ("SIGKILL", -9), ("SIGSEGV", -11), ("SIGABRT", -6)]
)
def test_process_that_dies_crashes_its_run_with_its_own_status(
    server: PrefectServer, running: tuple[Worker, dict[str, str]], how: str, status: int
) -> None:
    started, deployments = running
    run = server.await_state(server.start_run(deployments["leave"], {"how": how}))
    assert run["state_type"] == "CRASHED"
    assert f"status code: {status}" in run["state"]["message"]
    wait_for("end of the run's processes", lambda: not started.of_runs(), 60, 0.1)


def test_memory_limit_fails_the_run_and_nothing_else(
    server: PrefectServer, running: tuple[Worker, dict[str, str]]
) -> None:
    _, deployments = running
    run = server.await_state(server.start_run(deployments["eat"]))
    assert run["state_type"] == "FAILED"
    assert "MemoryError" in run["state"]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_to_the_process_that_the_worker_knows_ends_the_whole_run(
    server: PrefectServer, running: tuple[Worker, dict[str, str]], number: signal.Signals
) -> None:
    started, deployments = running
    mark = secrets.token_hex(8)
    run = server.start_run(deployments["wait"], {"mark": "" if number == signal.SIGKILL else mark})
    server.await_state(run, "RUNNING")
    process = wait_for("process number", lambda: server.api.get(f"flow_runs/{run}")["infrastructure_pid"], 60)
    os.kill(int(process.rpartition(":")[2]), number)
    assert server.await_state(run)["state_type"] == "CRASHED"
    wait_for("end of the run's processes", lambda: not started.of_runs(), 60, 0.1)


@pytest.mark.timeout(120 + 15 * CANCELLATIONS)
def test_cancellation_at_any_moment_leaves_nothing_behind(
    server: PrefectServer, running: tuple[Worker, dict[str, str]]
) -> None:
    started, deployments = running
    before = set(started.temporary.iterdir())
    is_stock = not started.has_prefork  # it leaves a process or a folder now and then
    runs = [
        server.start_run(deployments["wait"], {"mark": "x", "is_tidy": is_stock or number % 2 == 0})
        for number in range(CANCELLATIONS)
    ]
    for run in random.sample(runs, len(runs)):
        time.sleep(random.random())
        server.cancel(run)
    for run in runs:
        server.await_state(run, timeout_seconds=200)
    wait_for("end of the runs' processes", lambda: not started.of_runs(), 60, 0.1)
    if not is_stock:
        wait_for("removal of their folders", lambda: set(started.temporary.iterdir()) == before, 60, 0.1)
    assert {server.state(run) for run in runs} == {"CANCELLED"}


@pytest.mark.parametrize("running", ["ours"], indirect=True)
def test_kill_of_the_prefork_server_loses_no_run_and_new_ones_go_on(
    server: PrefectServer, running: tuple[Worker, dict[str, str]]
) -> None:
    started, deployments = running
    going = [server.start_run(deployments["wait"], {"seconds": 4.0}) for _ in range(3)]
    dying = server.start_run(deployments["leave"], {"how": "exit 3"})
    server.await_state(going[0], "RUNNING")
    ready = started.log.count("yeedu-prefork: ready")
    os.kill(started.prefork_server(), signal.SIGKILL)
    new = [server.start_run(deployments["wait"], {"seconds": 0.0}) for _ in range(3)]
    for run in [*going, *new]:
        assert server.await_state(run)["state_type"] == "COMPLETED"
    assert server.await_state(dying)["state_type"] == "CRASHED"
    started.await_log("yeedu-prefork: ready", times=ready + 1)
    last = server.start_run(deployments["wait"], {"seconds": 0.0})
    assert server.await_state(last)["state_type"] == "COMPLETED"
    wait_for("end of the runs' processes", lambda: not started.of_runs(), 60, 0.1)
