"""A flow run is cancelled while nothing is left of its process; what it left on Yeedu is stopped."""

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled

from prefect_yeedu.flow_run.left_runs import left_artifacts, stop_left_runs

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PROGRAM = """
import sys
from uuid import UUID
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from operators.yeedu import YeeduOperator

@flow(name="left")
def left(job_url):
    YeeduOperator(job_url, "yeedu_connection_details", "yeedu_password").execute()

with get_client(sync_client=True) as client:
    flow_run = client.read_flow_run(UUID(sys.argv[1]))
run_flow(left, flow_run=flow_run, parameters={"job_url": sys.argv[2]})
"""


@flow(name="left")
def left(job_url: str = "") -> None:
    """Stands for the program's flow, of which the server knows only the name."""


def leave_behind(job_url: str, folder: Path, parameters: dict[str, str]) -> UUID:
    """Start a flow run, kill its process once its remote run is recorded, and cancel it."""
    (folder / "program.py").write_text(PROGRAM)
    with get_client(sync_client=True) as client:
        flow_run_id = client.create_flow_run(left, parameters=parameters).id
        process = subprocess.Popen(
            [sys.executable, str(folder / "program.py"), str(flow_run_id), job_url],
            env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 90
        while not left_artifacts(client, flow_run_id):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
        process.wait()
        client.set_flow_run_state(flow_run_id, Cancelled(), force=True)
    return flow_run_id


def long_job(mock: MockYeedu) -> int:
    return mock.control("POST", "jobs", json={"program": "import time; time.sleep(300)"})["job_id"]


def states(mock: MockYeedu, job_id: int) -> list[str]:
    with mock.client("job/1") as client:
        answer = client.get_object("workspace/1/spark/job/runs", "for runs", params={"job_ids": job_id})
        return [run["run_status"] for run in answer["data"]]


def test_remote_run_of_a_cancelled_flow_run_without_a_process_is_stopped(
    mock: MockYeedu, tmp_path: Path
) -> None:
    job_id = long_job(mock)
    address = mock.url(f"job/{job_id}")
    flow_run_id = leave_behind(address, tmp_path, {"job_url": address})
    [sentence] = stop_left_runs(flow_run_id)
    assert sentence.endswith("was left behind, and is over now: STOPPED.")
    assert states(mock, job_id) == ["STOPPED"]
    with get_client(sync_client=True) as client:
        assert left_artifacts(client, flow_run_id) == []
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
        assert sentence in [entry.message for entry in client.read_logs(wanted)]
    assert stop_left_runs(flow_run_id) == []


def test_remote_run_that_cannot_be_reached_is_named(mock: MockYeedu, tmp_path: Path) -> None:
    job_id = long_job(mock)
    flow_run_id = leave_behind(mock.url(f"job/{job_id}"), tmp_path, {})
    with get_client(sync_client=True) as client:
        [artifact] = left_artifacts(client, flow_run_id)
        run_id = (artifact.metadata_ or {})["run_id"]
    [sentence] = stop_left_runs(flow_run_id)
    assert sentence.startswith(f"Yeedu run {run_id} was left behind and cannot be stopped; see http")
    assert "none of its parameters" in sentence
