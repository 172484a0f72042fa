"""Tasks of a flow on Dask: a real scheduler and workers, in processes that have no clone of the flow."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun

from summarise_taxi_trips import summarise_taxi_trips
from taxi_trips import Month, make_sample
from tests.platforms import free_port

FLOWS = str(Path(__file__).parents[1])
# Argument: the folder for names of processes, and the file in it that its task waits for.
NAPS = f"""
import os, sys, time
from pathlib import Path
from prefect import flow, task

sys.path.insert(0, {FLOWS!r})
from fan_out import open_task_runner, outcome

@task
def nap(folder: str, until: str) -> int:
    Path(folder, str(os.getpid())).touch()
    while not Path(folder, until).exists():
        time.sleep(0.05)
    return os.getpid()

@flow
def naps(folder: str, until: str) -> None:
    with open_task_runner("dask", 1) as runner:
        [future] = runner.map(nap, dict(folder=[folder], until=[until]))
        print("napped in", outcome(future), flush=True)

naps(*sys.argv[1:])
"""


@contextmanager
def dask_process(
    role: str, folder: Path, prefect_server: str, address: str
) -> Generator[subprocess.Popen[bytes]]:
    """Run the scheduler or a worker as the platform does, on a port of its own."""
    environment = os.environ | {
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(folder / "home"),
        "DASK_SCHEDULER_ADDRESS": address,
        "TMPDIR": str(folder),
    }
    command = [sys.executable, "-m", "yeedu_worker.dask_process", role]
    if role == "scheduler":  # whose port is a fixed one in a container
        command = [*(sys.executable, "-m", "dask", role), *address.removeprefix("tcp://").split(":")]
        command[4:] = ["--host", command[4], "--port", command[5], "--dashboard-address", ":0"]
    with (folder / f"{role}.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def scheduler(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Dask scheduler, for the flow and for its workers."""
    address = f"tcp://127.0.0.1:{free_port()}"
    with (
        dask_process("scheduler", tmp_path_factory.mktemp("dask"), prefect_server, address),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DASK_SCHEDULER_ADDRESS", address)
        yield address


@pytest.fixture
def dask_worker(scheduler: str, prefect_server: str, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Start Dask workers; they end with the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(dask_process("worker", tmp_path, prefect_server, scheduler))


def task_runs(flow_run_id: UUID) -> list[TaskRun]:
    with get_client(sync_client=True) as client:
        only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
        return client.read_task_runs(flow_run_filter=only)


def test_tasks_run_on_dask_and_in_batches(
    dask_worker: Callable[[], Any], file_server: Any, wait_for: Callable[..., Any]
) -> None:
    file_server.body = make_sample(Month("green", 2020, 1))
    file_server.statuses = [503, 404]
    dask_worker()
    state = summarise_taxi_trips(2020, ["green"], 24, file_server.template, "dask", 6, return_state=True)
    assert state.is_failed()
    assert "1 of 12 files were not summarised. green 2020-01: The server answers 404" in (state.message or "")
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id
    runs = wait_for("end of both", lambda: [run for run in task_runs(flow_run_id) if run.end_time])
    assert sorted(run.name for run in runs) == ["green 2020-01 and the next", "green 2020-07 and the next"]
    assert {run.state_name for run in runs} == {"Completed"}
    assert max(run.run_count for run in runs) == 2, "the one that met a 503 was tried again"
    files = summarise_taxi_trips(2020, ["green"], 24, file_server.template, "dask")
    assert [file["month"] for file in files] == [f"green 2020-{month:02}" for month in range(1, 13)]
    assert files[0]["trips"] > 900


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "There is no Dask here, as DASK_SCHEDULER_ADDRESS is not set: switch it on as docs/fan-out.md"),
        (
            "tcp://127.0.0.1:1",
            "The Dask scheduler at tcp://127.0.0.1:1 (DASK_SCHEDULER_ADDRESS) does not answer",
        ),
        ("scheduler", "(DASK_SCHEDULER_ADDRESS) does not answer"),
        (None, "has no workers: look at the service dask-worker."),
    ],
)
def test_without_dask_one_sentence_says_what_to_switch_on(
    scheduler: str, address: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fan_out.ANSWER_SECONDS", 1)
    if address is not None:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    state = summarise_taxi_trips(2020, ["green"], runs_on="dask", return_state=True)
    assert state.is_failed()
    assert says in (state.message or "")
    assert "\n" not in (state.message or "")


def test_without_the_extra_one_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    state = summarise_taxi_trips(2020, ["green"], runs_on="dask", return_state=True)
    assert "Running tasks on Dask needs prefect-dask: set WORKER_EXTRAS=dask" in (state.message or "")


def napping(folder: Path) -> list[int]:
    return [int(file.name) for file in folder.iterdir() if file.name.isdigit()]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_task_whose_dask_worker_is_killed_runs_again_and_one_whose_run_is_killed_ends(
    dask_worker: Callable[[], Any],
    run_python: Callable[..., Any],
    wait_for: Callable[..., Any],
    scheduler: str,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "naps"
    folder.mkdir()
    first, second = dask_worker(), dask_worker()

    def run(until: str) -> Any:
        return run_python("-c", NAPS, str(folder), until, DASK_SCHEDULER_ADDRESS=scheduler)

    of_killed_worker = run("go")
    [at] = wait_for("first try", lambda: napping(folder), 240)
    killed, living = (first, second) if at == first.pid else (second, first)
    killed.kill()
    wait_for("second try", lambda: living.pid in napping(folder), 120)
    (folder / "go").touch()
    output, _ = of_killed_worker.communicate(timeout=120)
    assert f"napped in {living.pid}" in output, output

    (folder / str(living.pid)).unlink()
    killed_run = run("never")
    wait_for("its task", lambda: living.pid in napping(folder), 120)
    killed_run.kill()
    output, _ = run("go").communicate(timeout=120)
    assert f"napped in {living.pid}" in output, "the only thread is free again"
