"""Blocks and tasks, on a real Prefect server with the mock Yeedu."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from prefect.testing.standard_test_suites import BlockStandardTestSuite

from operators.yeedu import YeeduOperator
from prefect_yeedu import (
    YeeduConfigurationError,
    YeeduCredentials,
    YeeduJob,
    YeeduNotebook,
    YeeduRunFailed,
    run_yeedu_job,
    run_yeedu_notebook,
)
from prefect_yeedu.errors import YeeduRunError

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("block", [YeeduCredentials, YeeduJob, YeeduNotebook])
class TestBlockStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        assert block._logo_url is None  # a picture would have to be fetched from somewhere


def credentials(mock: MockYeedu) -> YeeduCredentials:
    return YeeduCredentials(username="demo", password=mock.password)  # pyright: ignore[reportArgumentType]


def stopped(mock: MockYeedu, kind: str, definition: int, name: str) -> bool:
    """Wait until the only run of a definition has been stopped."""
    deadline = time.monotonic() + 60
    with mock.client("job/1") as client:
        while time.monotonic() < deadline:
            found = client.get_object(f"workspace/1/{kind}/runs", "for runs", params={name: definition})[
                "data"
            ]
            assert len(found) == 1
            if found[0]["run_status"] == "STOPPED":
                return True
            time.sleep(0.1)
    return False


def running_job(mock: MockYeedu) -> int:
    program = "import time; print('up', flush=True); time.sleep(120)"
    return mock.control("POST", "jobs", json={"program": program})["job_id"]


def wait_for_run(mock: MockYeedu, job: int) -> None:
    deadline = time.monotonic() + 60
    with mock.client("job/1") as client:
        while time.monotonic() < deadline:
            answer = client.get_object("workspace/1/spark/job/runs", "for runs", params={"job_ids": job})
            if any(run["run_status"] == "RUNNING" for run in answer["data"]):
                return
            time.sleep(0.1)
    raise AssertionError("The job did not start.")


def test_a_saved_job_is_triggered_waited_for_and_fetched(mock: MockYeedu) -> None:
    made = YeeduJob(credentials=credentials(mock), job_url=mock.url("job/101"))
    made.save("hello", overwrite=True)

    @flow
    def caller() -> str:
        run = YeeduJob.load("hello").trigger()
        with pytest.raises(YeeduRunError, match="has not been waited for"):
            run.fetch_result()
        run.wait_for_completion()
        return run.fetch_result().stdout

    assert "Done." in caller()
    assert mock.password not in repr(made)
    assert mock.password not in repr(YeeduJob.load("hello"))


def test_the_async_twins_do_the_same(mock: MockYeedu) -> None:
    @flow
    async def caller() -> Any:
        run = await YeeduNotebook(
            credentials=credentials(mock), notebook_url=mock.url("notebook/201")
        ).trigger()
        await run.wait_for_completion()
        return await run.fetch_result()

    assert [cell.status for cell in asyncio.run(caller()).cells] == ["ok"] * 3


def test_a_failure_is_raised_when_the_result_is_fetched(mock: MockYeedu) -> None:
    run = YeeduJob(credentials=credentials(mock), job_url=mock.url("job/102")).trigger()
    run.wait_for_completion()
    with pytest.raises(YeeduRunFailed, match="exit code 3"):
        run.fetch_result()


def test_a_block_refuses_the_other_kind_of_address(mock: MockYeedu) -> None:
    with pytest.raises(YeeduConfigurationError, match="not one of a job"):
        YeeduJob(credentials=credentials(mock), job_url=mock.url("notebook/201")).trigger()


def test_the_tasks_return_the_result(mock: MockYeedu) -> None:
    @flow
    def caller() -> tuple[str, str]:
        who = credentials(mock)
        job = run_yeedu_job.submit(mock.url("job/101"), who)
        notebook = run_yeedu_notebook.submit(mock.url("notebook/201"), who)
        return job.result().state, notebook.result().state

    assert caller() == ("DONE", "STOPPED")


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
    assert stopped(mock, "spark/job", job, "job_ids")


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
    assert stopped(mock, "spark/job", job, "job_ids")


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
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_run(mock, job)
        process.send_signal(number)
        process.wait(60)
        assert stopped(mock, "spark/job", job, "job_ids")
    finally:
        process.kill()
        process.wait()
