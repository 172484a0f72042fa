"""What the published operator does wrong and no other test here would notice; see the page in docs/."""

from typing import Any

import pytest
from addressed import execute
from fake_clock import FakeClock
from mock_yeedu import MockYeedu
from prefect.blocks.system import Secret
from scripted_yeedu import Call, ScriptedYeedu

from operators.yeedu import YeeduOperator
from prefect_yeedu.errors import YeeduCellFailed, YeeduKernelDied, YeeduRunFailed, YeeduRunTimedOut
from prefect_yeedu.models import YeeduResult
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.wait_options import WaitOptions

RUN = "workspace/1/notebook/run/9"
HELLO_CELLS = ["a_marked_name = 40 + 2", "a_marked_name"]


@pytest.fixture
def notebook(yeedu: ScriptedYeedu) -> ScriptedYeedu:
    """A notebook with run 9, whose kernel the test says more about."""
    yeedu.on("GET", "workspace/1/notebook", (200, {"notebook_id": 5, "cluster_id": 1}))
    yeedu.on("GET", "workspace/1/notebook/5/run/9/download", (200, {"cells": [{"source": "1"}]}))
    yeedu.on("POST", "workspace/1/notebook/run", (200, {"run_id": 9}))
    yeedu.on("POST", "workspace/1/notebook/run/kill/9", (201, {}))
    yeedu.on("GET", "workspace/1/notebook/runs", (200, {"data": [{"run_id": 8, "run_status": "RUNNING"}]}))
    yeedu.on("GET", RUN, (200, {"run_status": "RUNNING"}))
    return yeedu


def run_notebook(yeedu: ScriptedYeedu, clock: FakeClock, **options: Any) -> YeeduResult:
    with yeedu.client("notebook/5", clock=clock) as client:
        return execute(client, RunRequest(options=WaitOptions(**options)))


def test_a_notebook_s_own_run_is_watched_and_its_failure_noticed_at_once(notebook: ScriptedYeedu) -> None:
    clock = FakeClock()

    def look(call: Call) -> Any:
        return 200, {"run_status": "ERROR" if clock.time >= 20 else "SUBMITTED"}

    notebook.on("GET", RUN, look)
    with pytest.raises(YeeduRunFailed, match="run 9 ended in ERROR"):
        run_notebook(notebook, clock)
    assert clock.time < 27
    assert not notebook.called("GET", "workspace/1/notebook/runs")


def test_a_kernel_whose_start_is_refused_is_not_taken_for_ready(notebook: ScriptedYeedu) -> None:
    path = f"{RUN}/kernel/startOrGetStatus"
    notebook.on("POST", path, (500, {"kernel_info": {"kernel_status": "idle"}}))
    with pytest.raises(YeeduKernelDied, match="not ready within 30 seconds"):
        run_notebook(notebook, FakeClock(), kernel_seconds=30)
    assert 1 < len(notebook.called("POST", path)) < 100


@pytest.mark.parametrize("status", [409, 500])
@pytest.mark.parametrize("cells", [["1"], ["1 / 0", "2"]])
def test_whatever_a_stop_is_answered_the_cells_decide(mock: MockYeedu, status: int, cells: list[str]) -> None:
    definition = mock.control("POST", "notebooks", json={"cells": cells})["notebook_id"]
    fault = {"path": "notebook/run/kill/", "method": "POST", "status": status, "times": None}
    mock.control("POST", "faults", json=fault)
    options = WaitOptions(stop_seconds=0.5)
    try:
        with mock.client(f"notebook/{definition}") as client:
            if len(cells) == 1:
                assert execute(client, RunRequest(options=options)).cells[0].status == "ok"
            else:
                with pytest.raises(YeeduCellFailed, match="ZeroDivisionError"):
                    execute(client, RunRequest(options=options))
    finally:
        mock.control("DELETE", "faults")


def test_a_job_s_stop_that_is_refused_is_said_and_hides_nothing(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", "workspace/1/spark/job/run", (200, {"run_id": 9}))
    yeedu.on("GET", "workspace/1/spark/job/run/9", (200, {"run_status": "RUNNING"}))
    yeedu.on("POST", "workspace/1/spark/job/run/stop/9", (500, {"error_message": "no"}))
    request = RunRequest(options=WaitOptions(timeout_seconds=5, follows_logs=False))
    known = "within 5 seconds.* It was asked to stop, and nobody has seen it end yet"
    with yeedu.client(clock=FakeClock()) as client, pytest.raises(YeeduRunTimedOut, match=known):
        execute(client, request)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Prefect's own sockets
def test_each_block_is_read_once(mock: MockYeedu, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = Secret.load

    def counting(name: str, **keywords: Any) -> Any:
        read.append(name)
        return load(name, **keywords)

    monkeypatch.setattr(Secret, "load", counting)
    YeeduOperator(mock.url("job/101"), "yeedu_connection_details", "yeedu_password").execute()
    assert sorted(read) == ["yeedu-connection-details", "yeedu-password"]


def test_the_source_of_cells_stays_out_of_the_log(mock: MockYeedu, caplog: pytest.LogCaptureFixture) -> None:
    definition = mock.control("POST", "notebooks", json={"cells": HELLO_CELLS})["notebook_id"]
    with caplog.at_level("DEBUG"), mock.client(f"notebook/{definition}") as client:
        assert execute(client, RunRequest()).outputs[0].text == "42"
    assert "notebook/run" in caplog.text
    assert "a_marked_name" not in caplog.text
