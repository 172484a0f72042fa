"""A flow run is cancelled while nothing is left of its process; what it left on Yeedu is stopped."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled
from prefect_blocks import credentials

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduConfigurationError, run_yeedu_job
from prefect_yeedu.flow_run.left_runs import left_artifacts, stop_left_runs
from prefect_yeedu.flow_run.run_record import ArtifactLedger
from prefect_yeedu.runs.start import StartedRun

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
def left():
    YeeduOperator(sys.argv[2], "yeedu_connection_details", "yeedu_password").execute()

with get_client(sync_client=True) as client:
    flow_run = client.read_flow_run(UUID(sys.argv[1]))
run_flow(left, flow_run=flow_run)
"""


@flow(name="left")
def left() -> None:
    """Stands for the program's flow, of which the server knows only the name."""


def leave_behind(job_url: str, folder: Path) -> UUID:
    """Start a flow run, kill its process once its remote run is recorded, and cancel it."""
    (folder / "program.py").write_text(PROGRAM)
    with get_client(sync_client=True) as client:
        flow_run_id = client.create_flow_run(left).id
        process = subprocess.Popen(
            [sys.executable, str(folder / "program.py"), str(flow_run_id), job_url],
            env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 90
        while not any((one.metadata_ or {}).get("run_id") for one in left_artifacts(client, flow_run_id)):
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
    return run_states(mock, "spark/job", job_ids=job_id)


def run_states(mock: MockYeedu, kind: str, **definition: int) -> list[str]:
    with mock.client("job/1") as client:
        answer = client.get_object(f"workspace/1/{kind}/runs", "for runs", params=definition)
        return [run["run_status"] for run in answer["data"]]


def cancelled(run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> UUID:
    """Run a flow whose process is gone once its remote runs are submitted, and cancel its flow run."""

    def gone(self: StartedRun) -> None:
        raise RuntimeError("the process is gone")

    monkeypatch.setattr(StartedRun, "finish", gone)
    state = flow(run)(return_state=True)
    flow_run_id = state.state_details.flow_run_id
    assert isinstance(flow_run_id, UUID)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Cancelled(), force=True)
    return flow_run_id


def operator(address: str) -> YeeduOperator:
    return YeeduOperator(address, "yeedu_connection_details", "yeedu_password")


def test_remote_run_of_a_cancelled_flow_run_without_a_process_is_stopped(
    mock: MockYeedu, tmp_path: Path
) -> None:
    job_id = long_job(mock)
    flow_run_id = leave_behind(mock.url(f"job/{job_id}"), tmp_path)
    [sentence] = stop_left_runs(flow_run_id)
    assert sentence.endswith("was left behind, and is over now: STOPPED.")
    assert states(mock, job_id) == ["STOPPED"]
    with get_client(sync_client=True) as client:
        assert left_artifacts(client, flow_run_id) == []
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
        assert sentence in [entry.message for entry in client.read_logs(wanted)]
    command = [Path(sys.executable).with_name("yeedu-left-runs"), str(flow_run_id)]
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "Nothing was left behind.\n"


def test_job_and_notebook_whose_ids_coincide_are_stopped_each(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock.control("PATCH", "switches", json={"coinciding_ids": True})
    try:
        job = long_job(mock)
        notebook = mock.control("POST", "notebooks", json={"cells": ["1"]})["notebook_id"]

        def left() -> None:
            for address in (mock.url(f"notebook/{notebook}"), mock.url(f"job/{job}")):
                with pytest.raises(RuntimeError):
                    operator(address).execute()

        flow_run_id = cancelled(left, monkeypatch)
    finally:
        mock.control("PATCH", "switches", json={"coinciding_ids": False})
    sentences = stop_left_runs(flow_run_id)
    assert len(sentences) == 2
    assert all(sentence.endswith("is over now: STOPPED.") for sentence in sentences)
    assert states(mock, job) == ["STOPPED"]
    assert run_states(mock, "notebook", notebook_ids=notebook) == ["STOPPED"]


def test_remote_run_of_a_subflow_s_task_is_stopped_with_the_block_of_its_record(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = long_job(mock)
    block = credentials(mock)
    block.save("who-stops", overwrite=True)

    @flow
    def child() -> None:
        run_yeedu_job(mock.url(f"job/{job}"), block)

    flow_run_id = cancelled(lambda: child(return_state=True), monkeypatch)
    [sentence] = stop_left_runs(flow_run_id)
    assert sentence.endswith("is over now: STOPPED.")
    assert states(mock, job) == ["STOPPED"]


def test_remote_run_for_which_no_block_is_named_stays_open_and_is_named(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = long_job(mock)
    flow_run_id = cancelled(lambda: run_yeedu_job(mock.url(f"job/{job}"), credentials(mock)), monkeypatch)
    [sentence] = stop_left_runs(flow_run_id)
    assert "was left behind and cannot be stopped; see http" in sentence
    assert "names no block with credentials" in sentence
    with get_client(sync_client=True) as client:
        assert len(left_artifacts(client, flow_run_id)) == 1
    [state] = states(mock, job)
    assert state in {"SUBMITTED", "RUNNING"}  # and so it was not stopped


@pytest.mark.parametrize("is_submitted", [True, False])
def test_run_of_which_only_the_intent_is_recorded_is_found_by_its_key(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch, is_submitted: bool
) -> None:
    job = long_job(mock)

    def killed(*_: Any) -> None:
        raise RuntimeError("the process is gone")

    if is_submitted:
        monkeypatch.setattr(ArtifactLedger, "note_submitted", killed)
    else:
        monkeypatch.setattr("prefect_yeedu.client.api.RunAPI.submit", killed)
    flow_run_id = cancelled(lambda: operator(mock.url(f"job/{job}")).execute(), monkeypatch)
    monkeypatch.undo()
    [sentence] = stop_left_runs(flow_run_id)
    if is_submitted:
        assert sentence.endswith("is over now: STOPPED.")
        assert states(mock, job) == ["STOPPED"]
        return
    assert "It is not known whether Yeedu started" in sentence
    monkeypatch.setattr("prefect_yeedu.flow_run.left_runs.SUBMIT_SECONDS", 0.0)
    [sentence] = stop_left_runs(flow_run_id)
    assert sentence == f"The run of Yeedu job {job} that was intended was never started."
    assert stop_left_runs(flow_run_id) == []


def test_nothing_of_a_flow_run_that_goes_on_is_stopped(mock: MockYeedu) -> None:
    @flow
    def goes_on() -> None:
        from prefect.runtime import flow_run

        with pytest.raises(YeeduConfigurationError, match="has not ended"):
            stop_left_runs(UUID(str(flow_run.id)))

    goes_on()


def test_a_run_that_cannot_be_stopped_stays_open(mock: MockYeedu, monkeypatch: pytest.MonkeyPatch) -> None:
    job = long_job(mock)
    flow_run_id = cancelled(lambda: operator(mock.url(f"job/{job}")).execute(), monkeypatch)
    monkeypatch.setattr("prefect_yeedu.runs.remote_run.RemoteRun.stop", lambda self: False)
    [sentence] = stop_left_runs(flow_run_id)
    assert "asked to stop, but nobody has seen it end" in sentence
    with get_client(sync_client=True) as client:
        assert len(left_artifacts(client, flow_run_id)) == 1
    monkeypatch.undo()
    assert len(stop_left_runs(flow_run_id)) == 1
    assert states(mock, job) == ["STOPPED"]
