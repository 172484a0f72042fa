"""Deferrable Yeedu jobs on a real worker: more of them at once than it has places, one remote run each."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from prefect_processes import OURS, PrefectServer, Worker, commit, worker

from tests.platforms import wait_for
from tests.prefect_process import PrefectProcess
from yeedu_mock.testing import RunningMock

SAMPLE_SECONDS = 0.25
# What is measured; with 200 jobs it takes a quarter of an hour.
MEASURED_JOBS = int(os.environ.get("WORKER_DEFERRED_JOBS", "20"))
MEASURED_SECONDS = float(os.environ.get("WORKER_DEFERRED_SECONDS", "10"))
FLOW = """
from operators.yeedu import YeeduOperator
from prefect import flow

@flow
def nightly(job_url: str, deferrable: bool):
    YeeduOperator(
        job_url, "yeedu_connection_details", "yeedu_password", deferrable=deferrable
    ).execute()
"""
BLOCKS = """
import sys
from prefect.blocks.system import Secret
Secret(value={"username": sys.argv[1]}).save("yeedu-connection-details", overwrite=True)
Secret(value=sys.argv[2]).save("yeedu-password", overwrite=True)
"""


@dataclass
class Peak:
    """The most that a worker's flow runs took at once.

    Attributes:
        processes: Flow runs that had a process.
        megabytes: Memory of all the worker's processes that no other process shares.
    """

    processes: int = 0
    megabytes: float = 0.0
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def of(self, started: Worker) -> Iterator["Peak"]:
        """Look again and again until the end of the block."""
        thread = threading.Thread(target=self._look, args=(started,))
        thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            thread.join()

    def _look(self, started: Worker) -> None:
        while not self._is_over.wait(SAMPLE_SECONDS):
            numbers = started.processes()
            # Beside the server that forks them, each flow run has a guard and a child; one may just be made.
            forks = sum("prefork.server" in line for line in numbers.values()) - 1
            self.processes = max(self.processes, forks // 2)
            self.megabytes = max(self.megabytes, sum(own_megabytes(number) for number in numbers))


def own_megabytes(number: int) -> float:
    """Return how much memory a process has for itself."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


@dataclass
class Place:
    """A worker of so many places, a watcher, and a job whose runs go on until they are ended by hand."""

    server: PrefectServer
    mock: RunningMock
    folder: Path
    limit: int
    job: int = 0
    deployment: str = ""
    watch: "subprocess.Popen[bytes]" = field(init=False)

    def start_watch(self) -> "subprocess.Popen[bytes]":
        """Start the watcher."""
        environment = {**self.server.environment(), "YEEDU_WATCH_SECONDS": "1"}
        return subprocess.Popen([sys.executable, "-m", "yeedu_worker.watch"], env=environment)

    @contextmanager
    def deployed(self) -> Iterator[None]:
        """Make the deployment, and run the watcher until the end of the block."""
        environment = self.server.environment()
        who = [self.mock.settings.username, self.mock.settings.password]
        subprocess.run([sys.executable, "-c", BLOCKS, *who], env=environment, check=True)
        pool = self.folder.name
        self.job = self.control("POST", "jobs", json={"name": pool, "program": "print('result')"})["job_id"]
        commit(self.folder / "repository", {"flows.py": FLOW})
        self.server.make_pool(pool, OURS)
        self.deployment = self.server.deploy(
            f"nightly-{pool}",
            "flows.py:nightly",
            (self.folder / "repository").as_uri(),
            work_pool_name=pool,
            tags=["retry-crashed"],  # of a worker that is killed, by rescue where there is one
        )
        self.watch = self.start_watch()
        try:
            yield
        finally:
            self.watch.terminate()
            self.watch.wait(60)

    @contextmanager
    def working(self, name: str = "worker") -> Iterator[Worker]:
        """Run a worker until the end of the block."""
        limit = {"WORKER_LIMIT": str(self.limit)}
        with worker(self.server, self.folder.name, self.folder / name, **limit) as running:
            yield running

    @contextmanager
    def started(self) -> Iterator[Worker]:
        """Start watcher and worker, until the end of the block."""
        with self.deployed(), self.working() as running:
            yield running

    def start_runs(self, number: int, *, deferrable: bool = True) -> list[str]:
        parameters = {"job_url": self.mock.job_url(self.job), "deferrable": deferrable}
        return [self.server.start_run(self.deployment, parameters) for _ in range(number)]

    def control(self, method: str, path: str, **arguments: Any) -> Any:
        response = requests.request(method, f"{self.mock.url}/_control/{path}", timeout=60, **arguments)
        response.raise_for_status()
        return response.json() if response.content else None

    def remote_runs(self) -> list[dict[str, Any]]:
        """Return the runs of the job."""
        return [run for run in self.control("GET", "runs") if run["of"] == self.folder.name]

    def states(self, flow_runs: list[str]) -> Counter[str]:
        """Return how many of flow runs are in which state."""
        found: Counter[str] = Counter()
        for start in range(0, len(flow_runs), 200):
            ids = {"id": {"any_": flow_runs[start : start + 200]}}
            answer = self.server.api.post("flow_runs/filter", {"flow_runs": ids, "limit": 200})
            found.update(str(run["state_name"]) for run in answer)
        return found

    def end_runs(self, since: dict[int, float] | None = None, seconds: float = 0.0) -> None:
        """End the runs that have lasted for long enough.

        Args:
            since: When each was seen first, which is added to; None ends all.
            seconds: How long a run lasts.
        """
        for run in self.remote_runs():
            begin = since.setdefault(run["run_id"], time.monotonic()) if since is not None else 0.0
            if run["run_status"] != "DONE" and time.monotonic() - begin >= seconds:
                self.control("POST", f"runs/{run['run_id']}", json={"status": "DONE"})


@pytest.fixture
def by_hand(yeedu_mock: RunningMock, yeedu_switches: Any) -> RunningMock:
    """A mock whose runs begin and end when the test says so."""
    yeedu_switches(start_by_hand=True)
    return yeedu_mock


@pytest.mark.timeout(300)
@pytest.mark.parametrize("jobs", [4, pytest.param(20, marks=pytest.mark.long)])
def test_more_jobs_run_at_once_than_the_worker_has_places_and_each_has_one_run(
    server: PrefectServer, by_hand: RunningMock, tmp_path: Path, jobs: int
) -> None:
    limit = 2
    place = Place(server, by_hand, tmp_path, limit)
    with place.started() as running, Peak().of(running) as peak:
        flow_runs = place.start_runs(jobs)
        wait_for("all suspended", lambda: place.states(flow_runs) == {"Suspended": jobs}, 200, 0.5)
        assert len(place.remote_runs()) == jobs, "all run at once"
        wait_for("no process", lambda: not running.of_runs(), 60, 0.1)
        place.end_runs()
        wait_for("all completed", lambda: place.states(flow_runs) == {"Completed": jobs}, 200, 0.5)
        assert len(place.remote_runs()) == jobs
        assert 1 <= peak.processes <= limit


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_what_waiting_costs_with_and_without_a_process(
    server: PrefectServer, by_hand: RunningMock, tmp_path: Path
) -> None:
    jobs, limit, seconds = MEASURED_JOBS, 5, MEASURED_SECONDS
    for is_deferrable in (True, False):
        name = "deferrable" if is_deferrable else "waiting"
        (tmp_path / name).mkdir()
        place = Place(server, by_hand, tmp_path / name, limit)
        since: dict[int, float] = {}
        with place.started() as running, Peak().of(running) as peak:
            began = time.monotonic()
            flow_runs = place.start_runs(jobs, deferrable=is_deferrable)

            def are_completed() -> bool:
                place.end_runs(since, seconds)  # noqa: B023 - called in this turn of the loop alone
                return place.states(flow_runs) == {"Completed": jobs}  # noqa: B023 - likewise

            wait_for("all completed", are_completed, 3000, 0.5)
            took = time.monotonic() - began
        print(
            f"{name:<10} {jobs} jobs of {seconds:g} s, limit {limit}: Completed in {took:.0f} s, at most "
            f"{peak.processes} runs with a process, {peak.megabytes:.0f} MB of the worker's own"
        )
        assert len(place.remote_runs()) == jobs
        assert peak.processes <= limit


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_jobs_that_wait_outlive_worker_server_and_watcher(by_hand: RunningMock, tmp_path: Path) -> None:
    jobs, limit, seconds = MEASURED_JOBS, 5, MEASURED_SECONDS
    (tmp_path / "server").mkdir()
    with PrefectProcess(tmp_path / "server") as process:
        server = PrefectServer(process.url, tmp_path / "server")
        place = Place(server, by_hand, tmp_path, limit)
        since: dict[int, float] = {}

        def number_in(state: str) -> int:
            place.end_runs(since, seconds)
            return place.states(flow_runs)[state]

        with place.deployed(), rescued(server):
            with place.working() as first, Peak().of(first) as peak:
                began = time.monotonic()
                flow_runs = place.start_runs(jobs)
                wait_for("half suspended", lambda: number_in("Suspended") >= jobs // 2, 900, 0.2)
                kill(first)
            process.stop()
            place.watch.kill()
            place.watch.wait(60)
            process.start()
            place.watch = place.start_watch()
            with place.working("second") as second, Peak().of(second) as later:
                wait_for("all completed", lambda: number_in("Completed") == jobs, 3600, 1.0)
                took = time.monotonic() - began
        print(
            f"{jobs} jobs of {seconds:g} s, limit {limit}, worker and watcher killed, server restarted: "
            f"Completed in {took:.0f} s, at most {max(peak.processes, later.processes)} runs with a process, "
            f"{max(peak.megabytes, later.megabytes):.0f} MB of the worker's own"
        )
        assert len(place.remote_runs()) == jobs
        assert max(peak.processes, later.processes) <= limit


def kill(running: Worker) -> None:
    """Kill a worker with everything that it started, and delete what the next one there would."""

    def are_gone() -> bool:
        for number in running.processes():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return not running.processes()

    wait_for("no process", are_gone, 60, 0.05)
    shutil.rmtree(running.temporary)
    running.temporary.mkdir()


@contextmanager
def rescued(server: PrefectServer) -> Iterator[None]:
    """Run what starts the runs of a killed worker again, until the end of the block."""
    rescue = subprocess.Popen([sys.executable, "-m", "yeedu_rescue"], env=server.environment())
    try:
        yield
    finally:
        rescue.terminate()
        rescue.wait(60)
