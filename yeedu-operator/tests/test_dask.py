"""A task on Dask has one remote run, whoever dies, and none goes on that nobody waits for."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from dask_flow import on_dask
from distributed import Client, LocalCluster
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Cancelling, Pending, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from uuid import UUID

    from mock_yeedu import MockYeedu

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector, and Dask its processes' pipes.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(600),
    pytest.mark.long,
]

WAITS = """
import time
from pathlib import Path
while not Path({go!r}).exists():
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def dask() -> Generator[Client]:
    """Two Dask workers, processes with a thread each."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


class FlowRun:
    """A flow run in a thread, whose task runs a job on Yeedu that waits for a file."""

    def __init__(self, mock: MockYeedu, dask: Client, folder: Path) -> None:
        self._mock = mock
        self.go = folder / "go"
        self.job = mock.control("POST", "jobs", json={"program": WAITS.format(go=str(self.go))})["job_id"]
        parameters: dict[str, Any] = {
            "url": mock.url(f"job/{self.job}"),
            "scheduler": dask.scheduler.address,  # pyright: ignore[reportOptionalMemberAccess]
        }
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.create_flow_run(on_dask, parameters=parameters, state=Pending())
        self.id: UUID = flow_run.id
        call = partial(run_flow, on_dask, flow_run=flow_run, parameters=parameters, return_type="state")
        self.state = ThreadPoolExecutor(1).submit(copy_context().run, call)

    def runs(self) -> list[dict[str, Any]]:
        return self._mock.runs_of(self.job)

    def set_state(self, *states: Any) -> None:
        with get_client(sync_client=True) as prefect:
            for state in states:
                prefect.set_flow_run_state(self.id, state, force=True)


def eventually(what: str, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 200
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def test_a_task_whose_dask_worker_is_killed_goes_on_with_its_run(
    mock: MockYeedu, dask: Client, tmp_path: Path
) -> None:
    run = FlowRun(mock, dask, tmp_path)
    eventually("a run", run.runs)
    told: Any = dask  # its methods' types are those of async clients, too
    [at_work] = [address for address, keys in told.processing().items() if keys]
    before = set(told.scheduler_info()["workers"])
    os.kill(told.run(os.getpid, workers=[at_work])[at_work], signal.SIGKILL)
    eventually("the end of the Dask worker", lambda: set(told.scheduler_info()["workers"]) != before)
    run.go.touch()
    state: Any = run.state.result(300)
    assert state.is_completed(), state
    [only] = run.runs()
    assert state.result() == only["run_id"]


@pytest.mark.parametrize(
    "states",
    [(Cancelling(),), (AwaitingRetry(), Pending(), Running())],
    ids=["cancelled", "another attempt"],
)
def test_a_task_that_nobody_waits_for_stops_its_run(
    mock: MockYeedu, dask: Client, tmp_path: Path, states: tuple[Any, ...]
) -> None:
    run = FlowRun(mock, dask, tmp_path)
    eventually("a run", run.runs)
    run.set_state(*states)
    run.state.result(300)
    assert [one["run_status"] for one in run.runs()] == ["STOPPED"]
