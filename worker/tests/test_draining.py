"""A worker that is told to stop: a real server, real worker processes, real flows."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platforms import Api, free_port, wait_for
from tests.prefect_process import PrefectProcess

# Several interpreters with Prefect start one after the other.
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

FLOW = '''
import os, subprocess, time
from pathlib import Path
from prefect import flow

@flow
def work(folder: str, seconds: float):
    """Marks its begin, its child and its end in files."""
    child = subprocess.Popen(["sleep", "600"])
    Path(folder, "began").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(seconds)
    child.kill()
    Path(folder, "ended").write_text(os.environ["PREFECT_CLIENT_MAX_RETRIES"])
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    with PrefectProcess(tmp_path_factory.mktemp("prefect")) as server:
        yield server


class Works:
    """A work pool with one deployment, and the workers that a test starts for it."""

    def __init__(self, server: PrefectProcess, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.api = Api(server.url)
        self.pool = f"pool-{folder.name}-{free_port()}"
        self.workers: list[subprocess.Popen[bytes]] = []
        (folder / "work.py").write_text(FLOW)
        template = {
            "job_configuration": {"command": "{{ command }}"},
            "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
        }
        self.api.post("work_pools/", {"name": self.pool, "type": "process", "base_job_template": template})
        flow = self.api.post("flows/", {"name": self.pool})
        self.deployment = self.api.post(
            "deployments/",
            {
                "name": self.pool,
                "flow_id": flow["id"],
                "work_pool_name": self.pool,
                "path": str(folder),
                "entrypoint": "work.py:work",
                "job_variables": {"command": f"{sys.executable} -m prefect.engine"},
                "pull_steps": [
                    {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
                ],
            },
        )["id"]

    def start_worker(self, grace_seconds: float = 2, **variables: str) -> subprocess.Popen[bytes]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_API_URL": self.server.url,
            "PREFECT_HOME": str(self.folder / "home"),
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()),
            **variables,
        }
        command = [sys.executable, "-m", "yeedu_worker.serve", "--pool", self.pool, "--name", "worker"]
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [*command, "--limit", "2", "--grace-seconds", str(grace_seconds)],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    def start_run(self, seconds: float) -> str:
        body = {
            "parameters": {"folder": str(self.folder), "seconds": seconds},
            "state": {"type": "SCHEDULED"},
        }
        return self.api.post(f"deployments/{self.deployment}/create_flow_run", body)["id"]

    def running(self) -> list[int]:
        """Wait until the flow has begun; return its process and its child's."""
        text = wait_for("begin of the flow", lambda: _read(self.folder / "began"), 200)
        return [int(number) for number in text.split()]

    def state(self, run_id: str) -> dict[str, Any]:
        return self.api.get(f"flow_runs/{run_id}")["state"]

    def log(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")

    def stop(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def lives(process_id: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False


def run_count(works: Works, run_id: str) -> int:
    return works.api.get(f"flow_runs/{run_id}")["run_count"]


@pytest.fixture
def works(server: PrefectProcess, tmp_path: Path) -> Iterator[Works]:
    works = Works(server, tmp_path)
    yield works
    works.stop()


def test_run_that_ends_in_time_completes_and_nothing_more_is_claimed(works: Works) -> None:
    worker = works.start_worker(grace_seconds=60)
    first = works.start_run(seconds=3)
    works.running()
    worker.terminate()
    second = works.start_run(seconds=0)
    assert worker.wait(timeout=60) == 0, works.log()
    assert works.state(first)["type"] == "COMPLETED"
    assert works.state(second)["type"] == "SCHEDULED"


def test_run_that_does_not_end_in_time_is_handed_over(works: Works) -> None:
    worker = works.start_worker(grace_seconds=1)
    run_id = works.start_run(seconds=300)
    processes = works.running()
    worker.terminate()
    assert worker.wait(timeout=60) == 0, works.log()
    state = works.state(run_id)
    assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry"), works.log()
    assert state["message"] == "handed over: worker worker was stopped before this run ended"
    assert not any(lives(process) for process in processes)
    states = works.api.get(f"flow_run_states/?flow_run_id={run_id}")
    assert not any(state["type"] == "CRASHED" for state in states)


def test_handed_over_run_is_taken_up_by_the_next_worker(works: Works) -> None:
    worker = works.start_worker()
    run_id = works.start_run(seconds=6)
    works.running()
    for _ in range(2):  # the second one hurries
        worker.terminate()
    assert worker.wait(timeout=60) == 0, works.log()
    (works.folder / "began").unlink()
    works.start_worker()
    works.running()
    run = works.api.finished(run_id)
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 2)


@pytest.mark.parametrize("first", [signal.SIGUSR1, signal.SIGTERM], ids=["told", "asked"])
def test_drained_worker_waits_for_as_long_as_its_runs_need(works: Works, first: signal.Signals) -> None:
    """`make drain` tells a container's worker alone; a local one is asked to end right before."""
    worker = works.start_worker(grace_seconds=0.5)
    run_id = works.start_run(seconds=5)
    works.running()
    for number in sorted({signal.SIGUSR1, signal.SIGTERM}, key=lambda number: number != first):
        worker.send_signal(number)
    assert worker.wait(timeout=60) == 0, works.log()
    assert works.state(run_id)["type"] == "COMPLETED"
    assert run_count(works, run_id) == 1


def test_run_that_is_cancelled_during_a_drain_is_cancelled(works: Works) -> None:
    worker = works.start_worker(grace_seconds=60)
    run_id = works.start_run(seconds=300)
    works.running()
    worker.terminate()
    works.api.post(f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    assert worker.wait(timeout=60) == 0, works.log()
    assert works.state(run_id)["type"] == "CANCELLED"


def test_run_that_comes_again_never_has_two_processes(works: Works) -> None:
    worker = works.start_worker()
    run_id = works.start_run(seconds=8)
    first, _ = works.running()
    (works.folder / "began").unlink()
    works.api.post(f"flow_runs/{run_id}/set_state", {"state": {"type": "SCHEDULED"}})
    second, _ = works.running()
    assert second != first
    assert not lives(first)
    assert works.api.finished(run_id)["state_type"] == "COMPLETED"
    assert worker.poll() is None
    assert int(_read(works.folder / "ended")) > 5, "a flow is to be more patient than Prefect's clients"


def test_idle_worker_stops_at_once(works: Works) -> None:
    worker = works.start_worker(grace_seconds=300)
    wait_for("poll", lambda: works.api.post(f"work_pools/{works.pool}/workers/filter"), 60)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=20) == 0, works.log()


def test_worker_that_polls_seldom_hands_over_as_soon_as_it_is_to(works: Works) -> None:
    """Docker kills it ten seconds after its grace period, whenever its next poll would be."""
    run_id = works.start_run(seconds=300)
    worker = works.start_worker(grace_seconds=1, PREFECT_WORKER_QUERY_SECONDS="600")
    works.running()
    worker.terminate()
    assert worker.wait(timeout=30) == 0, works.log()
    assert works.state(run_id)["name"] == "AwaitingRetry", works.log()


def test_outage_of_the_server_ends_neither_the_worker_nor_its_run(tmp_path: Path) -> None:
    home = tmp_path / "server"
    home.mkdir()
    server = PrefectProcess(home)
    server.start()
    works = Works(server, tmp_path)
    try:
        # One try in place of five, so that an outage of seconds is as one of many minutes.
        worker = works.start_worker(PREFECT_CLIENT_MAX_RETRIES="0")
        run_id = works.start_run(seconds=20)
        processes = works.running()
        server.stop()
        wait_for("word of the outage", lambda: "does not answer" in works.log(), 60)
        assert worker.poll() is None
        assert all(lives(process) for process in processes)
        server.start()
        wait_for("word of its end", lambda: "answers again" in works.log(), 60)
        assert works.api.finished(run_id)["state_type"] == "COMPLETED"
        assert worker.poll() is None
        assert (tmp_path / "ended").read_text() == "0"
    finally:
        works.stop()
        server.stop()
