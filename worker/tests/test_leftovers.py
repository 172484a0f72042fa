"""What a flow run leaves behind when it ends, in whatever way: nothing, neither files nor processes."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect_processes import OURS, STOCK, PrefectServer, Worker, commit, worker

from tests.platforms import wait_for

FLOWS = """
import os, signal, subprocess, tempfile, time
from pathlib import Path
from prefect import flow

# Leaves its session and its parent, and ignores every polite signal.
DAEMONS = '''
i=0
while [ $i -lt {count} ]; do
  (trap "" TERM INT HUP; exec setsid sleep 86400.{mark}) </dev/null >/dev/null 2>&1 &
  i=$((i+1))
done
'''

def there_are(mark):
    found = 0
    for number in filter(str.isdecimal, os.listdir("/proc")):
        try:
            found += f"86400.{mark}".encode() in Path("/proc", number, "cmdline").read_bytes()
        except OSError:
            continue
    return found

@flow
def leave(how: str, mark: str, count: int = 3):
    (Path(tempfile.mkdtemp()) / "file").write_text("x")
    subprocess.run("mktemp && mkdir $TMPDIR/closed && touch $TMPDIR/closed/file && chmod 0 $TMPDIR/closed",
                   shell=True, check=True)
    subprocess.run(["sh", "-c", DAEMONS.format(count=count, mark=mark)], check=True)
    while there_are(mark) < count:
        time.sleep(0.05)
    if how == "fail":
        raise ValueError("as it was told to")
    if how == "crash":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "wait":
        Path(tempfile.gettempdir(), "waits").touch()
        time.sleep(600)

@flow
def run_wild(mark: str):
    subprocess.run(["sh", "-c", DAEMONS.format(count=400, mark=mark)], check=True)
    time.sleep(600)

@flow
def fill(folder: str):
    (Path(folder) / "fill").write_bytes(bytes(1000))
    Path(folder, "folder").mkdir()
    Path(folder, "folder", "file").touch()

@flow
def work():
    pass

@flow
def write(megabytes: int):
    with open("large", "wb") as file:
        for _ in range(megabytes):
            file.write(bytes(1024 * 1024))
"""
# What the worker does every half minute with files of a minute comes at once; nobody can make a file older.
SOONER = """
import sys
if "yeedu_worker.serve" in sys.orig_argv:
    from yeedu_worker.cleanup import temporary_files
    temporary_files._EVERY_SECONDS, temporary_files._YOUNG_SECONDS = 0.2, 1.0
"""
ENDS = {"complete": "COMPLETED", "fail": "FAILED", "crash": "CRASHED", "kill": "CRASHED"}


class Works:
    """A worker, the deployments of its pool, and the folder of temporary files that is the worker's alone."""

    def __init__(
        self, server: PrefectServer, running: Worker, deployments: dict[str, str], own: Path
    ) -> None:
        self.server = server
        self.own = own
        self.worker = running
        self._deployments = deployments
        self._before = set(running.temporary.iterdir())

    def start(self, flow: str, **parameters: object) -> str:
        return self.server.start_run(self._deployments[flow], parameters)

    def await_nothing_left(self, mark: str) -> None:
        """Wait until no process and no file of a run is left; neither is a matter of minutes."""
        wait_for("end of the run's processes", lambda: not daemons(mark), 120, 0.05)
        wait_for("end of its files", lambda: set(self.worker.temporary.iterdir()) == self._before, 120, 0.05)


def daemons(mark: str) -> list[int]:
    found: list[int] = []
    for number in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - they come and go
        try:
            if f"86400.{mark}".encode() in Path("/proc", number, "cmdline").read_bytes():
                found.append(int(number))
        except OSError:  # it has just ended
            continue
    return found


@pytest.fixture(autouse=True)
def mark() -> Iterator[str]:
    """A number that tells a test's processes from all others; whatever is left of them goes at its end."""
    number = str(secrets.randbelow(10**12))
    yield number
    for left in daemons(number):
        os.kill(left, signal.SIGKILL)


@pytest.fixture(
    scope="module",
    params=["ours", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("stock", "none"))],
)
def works(
    request: pytest.FixtureRequest, server: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Works]:
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    pool = f"leftovers-{kind}"
    commit(folder / "repository", {"flows.py": FLOWS})
    server.make_pool(pool, {"ours": OURS, "stock": STOCK, "none": None}[kind])
    limits = {"run_wild": {"WORKER_RUN_PROCESSES": "300"}, "write": {"WORKER_RUN_FILE_MEGABYTES": "20"}}
    deployments = {
        name: server.deploy(
            f"{name}-{kind}",
            f"flows.py:{name}",
            (folder / "repository").as_uri(),
            work_pool_name=pool,
            job_variables={"env": limits.get(name, {})},
        )
        for name in ("leave", "run_wild", "work", "write", "fill")
    }
    (folder / "own").mkdir()
    (folder / "sitecustomize.py").write_text(SOONER)
    variables = {
        "WORKER_PREFORK": "true" if kind == "ours" else "false",
        "WORKER_RUN_PROCESSES": "0",
        "WORKER_OWN_TEMPORARY_FOLDER": str(folder / "own"),
        "PYTHONPATH": str(folder),
    }
    with worker(server, pool, folder / "worker", **variables) as running:
        yield Works(server, running, deployments, folder / "own")


@pytest.mark.parametrize("how", ENDS)
def test_nothing_outlives_a_run_however_it_ends(works: Works, mark: str, how: str) -> None:
    run = works.server.await_state(works.start("leave", how=how, mark=mark))
    assert run["state_type"] == ENDS[how], run["state"]["message"]
    works.await_nothing_left(mark)


def test_nothing_outlives_a_cancelled_run(works: Works, mark: str) -> None:
    run = works.start("leave", how="wait", mark=mark)
    wait_for("the daemons", lambda: len(daemons(mark)) == 3, 200, 0.05)
    works.server.await_state(run, "RUNNING")
    works.server.cancel(run)
    assert works.server.await_state(run)["state_type"] == "CANCELLED"
    works.await_nothing_left(mark)


def test_nothing_outlives_a_run_whose_every_process_is_killed(works: Works, mark: str) -> None:
    """The one that the worker knows, the guard, the flow's own: one is killed, and all else goes."""
    for victim in range(3 if works.worker.has_prefork else 2):
        run = works.start("leave", how="wait", mark=mark)
        wait_for("the daemons", lambda: len(daemons(mark)) == 3, 200, 0.05)
        works.server.await_state(run, "RUNNING")
        ours = sorted(number for number in works.worker.of_runs() if number not in daemons(mark))
        os.kill(ours[victim], signal.SIGKILL)
        assert works.server.await_state(run)["state_type"] == "CRASHED"
        works.await_nothing_left(mark)


def test_run_with_too_many_processes_is_ended_and_others_go_on(works: Works, mark: str) -> None:
    wild = works.start("run_wild", mark=mark)
    other = works.start("work")
    assert works.server.await_state(other)["state_type"] == "COMPLETED"
    assert works.server.await_state(wild)["state_type"] == "CRASHED"
    works.worker.await_log("WORKER_RUN_PROCESSES is 300", 120)
    works.await_nothing_left(mark)


@pytest.mark.parametrize("works", ["ours"], indirect=True)
def test_what_a_run_wrote_beside_its_own_folder_goes_while_the_worker_goes_on(works: Works) -> None:
    """All of /tmp is the worker's alone in its image; it would be full some day, for every later run."""
    run = works.server.await_state(works.start("fill", folder=str(works.own)))
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    works.worker.await_log(f"files and folders that flow runs left in {works.own}", 60)
    wait_for("end of the files", lambda: not list(works.own.iterdir()), 60, 0.05)


def test_file_that_is_too_large_fails_its_run(works: Works) -> None:
    assert works.server.await_state(works.start("write", megabytes=10))["state_type"] == "COMPLETED"
    failed = works.server.await_state(works.start("write", megabytes=30))
    assert failed["state_type"] == "FAILED"
    assert "File too large" in failed["state"]["message"]


@pytest.mark.parametrize("works", ["ours"], indirect=True)
def test_two_thousand_daemons_end_with_their_run(works: Works, mark: str) -> None:
    run = works.server.await_state(works.start("leave", how="complete", mark=mark, count=2000))
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    works.await_nothing_left(mark)
