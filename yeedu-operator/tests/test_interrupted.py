"""Whoever stops waiting leaves no run behind on Yeedu, at whichever moment it happens."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from addressed import execute
from kept_ledger import KeptLedger
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from prefect_blocks import credentials

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduJob, run_yeedu_job
from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.errors import YeeduStopRequested
from prefect_yeedu.models import RunState
from prefect_yeedu.runs import submission
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.record import Phase
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import RunRequest

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def runs_of(client: YeeduClient, job: int) -> list[dict[str, Any]]:
    return client.get_object("workspace/1/spark/job/runs", "for runs", params={"job_ids": job})["data"]


def stopped(mock: MockYeedu, job: int) -> bool:
    """Wait until the only run of a job has been stopped."""
    deadline = time.monotonic() + 60
    with mock.client("job/1") as client:
        while time.monotonic() < deadline:
            [run] = runs_of(client, job)
            if run["run_status"] == "STOPPED":
                return True
            time.sleep(0.1)
    return False


def running_job(mock: MockYeedu) -> int:
    program = "import time; print('up', flush=True); time.sleep(120)"
    return mock.control("POST", "jobs", json={"program": program})["job_id"]


def wait_for_run(mock: MockYeedu, job: int) -> None:
    deadline = time.monotonic() + 100
    with mock.client("job/1") as client:
        while time.monotonic() < deadline:
            if any(run["run_status"] == "RUNNING" for run in runs_of(client, job)):
                return
            time.sleep(0.1)
    raise AssertionError("The job did not start.")


class InterruptingLedger(KeptLedger):
    """Has Ctrl-C pressed while the run is being recorded."""

    def note_submitted(self, run_id: int, url: str) -> None:
        super().note_submitted(run_id, url)
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)


def delay_submission(mock: MockYeedu, **fault: Any) -> None:
    mock.control("POST", "faults", json={"path": "job/run$", "method": "POST", "delay_seconds": 4, **fault})


def wait_for_submission(mock: MockYeedu) -> None:
    """Wait until Yeedu has the delayed submission, and has not looked at it yet."""
    deadline = time.monotonic() + 60
    while mock.control("GET", "faults"):
        assert time.monotonic() < deadline, "Nothing was submitted."
        time.sleep(0.02)


def interrupt_submission(mock: MockYeedu) -> None:
    """Press Ctrl-C while the submission is under way."""
    wait_for_submission(mock)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a thread")
def test_an_interrupt_while_the_run_is_recorded_stops_it(mock: MockYeedu) -> None:
    job = running_job(mock)
    ledger = InterruptingLedger()
    with mock.client(f"job/{job}") as client, pytest.raises(KeyboardInterrupt):
        execute(client, RunRequest(), None, ledger)
    assert stopped(mock, job)
    assert (ledger.record.phase, ledger.record.state) == (Phase.ENDED, RunState.STOPPED)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a thread")
def test_an_interrupt_while_yeedu_accepts_the_run_stops_it(mock: MockYeedu) -> None:
    job = running_job(mock)
    ledger = KeptLedger()
    delay_submission(mock)
    threading.Thread(target=interrupt_submission, args=[mock]).start()
    with mock.client(f"job/{job}") as client, pytest.raises(KeyboardInterrupt):
        execute(client, RunRequest(), None, ledger)
    assert stopped(mock, job)
    assert (ledger.record.phase, ledger.record.state) == (Phase.ENDED, RunState.STOPPED)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a thread")
def test_an_interrupted_submission_that_fails_is_not_made_again(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "HURRIED_SEARCH_SECONDS", 1.0)
    ledger = KeptLedger()
    job = running_job(mock)
    delay_submission(mock, drop="before")
    troubles: list[str] = []
    listener = RunListener()
    listener.on_trouble = troubles.append
    threading.Thread(target=interrupt_submission, args=[mock]).start()
    with mock.client(f"job/{job}") as client, pytest.raises(KeyboardInterrupt):
        execute(client, RunRequest(), listener, ledger)
    [trouble] = troubles
    assert trouble.startswith("Interrupted while it was being submitted. It is not known whether")
    assert ledger.record.phase is Phase.INTENDED  # and so it stays open on record
    with mock.client(f"job/{job}") as client:
        assert runs_of(client, job) == []


@pytest.mark.parametrize("where", [(ThreadPoolExecutor, "shutdown"), (JobRun, "wait")])
def test_an_interrupt_beside_the_wait_for_the_answer_stops_the_run(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str]
) -> None:
    """Right after the submission is under way, and right before the run's end is waited for."""
    job = running_job(mock)
    ledger = KeptLedger()

    def interrupt(*_: object, **__: object) -> None:
        deadline = time.monotonic() + 60
        while ledger.record.run_id is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(*where, interrupt)
    with mock.client(f"job/{job}") as client, pytest.raises(KeyboardInterrupt):
        execute(client, RunRequest(), None, ledger)
    assert stopped(mock, job)
    assert (ledger.record.phase, ledger.record.state) == (Phase.ENDED, RunState.STOPPED)


def test_a_run_that_is_not_wanted_any_more_when_yeedu_has_it_is_stopped(mock: MockYeedu) -> None:
    job = running_job(mock)
    listener = RunListener()
    listener.stop_reason = lambda: "the test says so"
    ledger = KeptLedger()
    with mock.client(f"job/{job}") as client, pytest.raises(YeeduStopRequested, match="the test says so"):
        execute(client, RunRequest(), listener, ledger)
    assert stopped(mock, job)
    assert (ledger.record.phase, ledger.record.state) == (Phase.ENDED, RunState.STOPPED)


def test_cancelling_an_async_trigger_stops_what_it_submitted(mock: MockYeedu) -> None:
    job = running_job(mock)
    delay_submission(mock)
    block = YeeduJob(credentials=credentials(mock), job_url=mock.url(f"job/{job}"))

    async def cancelled() -> None:
        task = asyncio.create_task(block.atrigger())
        await asyncio.to_thread(wait_for_submission, mock)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert stopped(mock, job)


def test_cancelling_an_async_caller_stops_the_remote_run(mock: MockYeedu) -> None:
    job = running_job(mock)

    async def cancelled() -> None:
        made = YeeduOperator(mock.url(f"job/{job}"), "yeedu_connection_details", "yeedu_password")
        task = asyncio.create_task(made.aexecute())
        await asyncio.to_thread(wait_for_run, mock, job)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert stopped(mock, job)


def test_cancelling_a_flow_stops_what_its_tasks_wait_for_in_threads(mock: MockYeedu) -> None:
    job = running_job(mock)

    def cancel(flow_run_id: Any) -> None:
        wait_for_run(mock, job)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run_id, Cancelling(), force=True)

    @flow
    def caller() -> None:
        from prefect.runtime import flow_run

        canceller = threading.Thread(target=cancel, args=[flow_run.id])
        canceller.start()
        future = run_yeedu_job.submit(mock.url(f"job/{job}"), credentials(mock))
        future.wait()
        canceller.join()

    caller(return_state=True)
    assert stopped(mock, job)


PROGRAM = """
import sys
from prefect import flow
from operators.yeedu import YeeduOperator

@flow
def caller():
    YeeduOperator(sys.argv[1], "yeedu_connection_details", "yeedu_password").execute()

caller()
"""


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_flow_stops_the_remote_run(mock: MockYeedu, tmp_path: Path, number: int) -> None:
    job = running_job(mock)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = [sys.executable, str(program), mock.url(f"job/{job}")]
    said = tmp_path / "said"
    with said.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_for_run(mock, job)
        process.send_signal(number)
        process.wait(60)
        assert stopped(mock, job), (mock.runs_of(job), said.read_text())
    finally:
        process.kill()
        process.wait()
