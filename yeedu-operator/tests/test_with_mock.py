"""Against the mock Yeedu: real processes, real Jupyter kernels."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from addressed import execute
from mock_yeedu import MockYeedu

from prefect_yeedu.errors import YeeduCellFailed, YeeduKernelDied, YeeduRunCancelled, YeeduRunFailed
from prefect_yeedu.models import Output, YeeduResult
from prefect_yeedu.runs import kernel_echo
from prefect_yeedu.runs.remote_run import RemoteRun, RunListener
from prefect_yeedu.runs.request import RunRequest


class Listener(RunListener):
    """Does something to a run when something happens."""

    def __init__(self, **reactions: Callable[[int], Any]) -> None:
        self.reactions = reactions
        self.run_id = 0
        self.output = ""
        self.troubles: list[str] = []

    def on_submitted(self, run: RemoteRun, *, is_new: bool) -> None:
        self.run_id = run.run_id
        self._react("submitted")

    def on_cell_started(self, index: int, total: int) -> None:
        self._react(f"cell_{index}")

    def on_output(self, index: int, output: Output) -> None:
        self.output += output.text
        self._react("output")

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)

    def _react(self, event: str) -> None:
        reaction = self.reactions.pop(event, None)
        if reaction is not None:
            reaction(self.run_id)


@pytest.fixture(autouse=True)
def _defaults(mock: MockYeedu) -> Iterator[None]:
    yield
    mock.control("DELETE", "faults")
    mock.control(
        "PATCH",
        "switches",
        json={
            "websocket_drops": 0,
            "websocket_drop_after_messages": None,
            "websocket_swallow": [],
            "websocket_duplicates": False,
            "websocket_buffers": False,
            "websocket_order": "as_published",
            "kernel_not_ready_answers": 0,
        },
    )


def notebook(mock: MockYeedu, *cells: str, language: str = "Python3") -> str:
    answer = mock.control("POST", "notebooks", json={"cells": list(cells), "language": language})
    return f"spark/notebook/{answer['notebook_id']}"


def run(mock: MockYeedu, path: str, listener: RunListener | None = None, **request: Any) -> YeeduResult:
    with mock.client(path) as client:
        return execute(client, RunRequest(**request), listener)


def final_state(mock: MockYeedu, kind: str, run_id: int) -> str:
    """Return a run's state, once it is no longer on its way to its end."""
    deadline = time.monotonic() + 60
    with mock.client("job/1") as client:
        while True:
            state = client.get_object(f"workspace/1/{kind}/run/{run_id}", "about a run")["run_status"]
            if state != "STOPPING" or time.monotonic() > deadline:
                return state
            time.sleep(0.1)


def later(seconds: float, action: Callable[[], Any]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def test_hello_job_is_done_with_its_logs(mock: MockYeedu) -> None:
    result = run(mock, "spark/job/101")
    assert result.state == "DONE"
    assert "Done." in result.stdout.splitlines()
    assert "error stream" in result.stderr


def test_failing_job_fails_with_its_exit_code(mock: MockYeedu) -> None:
    with pytest.raises(YeeduRunFailed, match="exit code 3"):
        run(mock, "spark/job/102")


def test_hello_notebook_succeeds_and_its_run_is_stopped(mock: MockYeedu) -> None:
    result = run(mock, "spark/notebook/201")
    assert result.state == "STOPPED"
    assert [cell.status for cell in result.cells] == ["ok", "ok", "ok"]
    assert result.outputs[0].text.startswith("Hello from a Yeedu notebook")
    assert result.outputs[1].text == "45"
    assert "<table>" in result.outputs[2].data["text/html"]
    assert result.run_id is not None
    assert final_state(mock, "notebook", result.run_id) == "STOPPED"


def test_failing_notebook_names_its_cell_and_is_stopped(mock: MockYeedu) -> None:
    listener = Listener()
    with pytest.raises(YeeduCellFailed, match="Cell 2 of 3") as caught:
        run(mock, "spark/notebook/202", listener)
    error = caught.value
    assert (error.cell_index, error.ename, error.evalue) == (2, "ZeroDivisionError", "division by zero")
    assert "1 / 0" in error.traceback
    assert "\x1b" not in error.traceback
    assert "never reached" not in listener.output
    assert final_state(mock, "notebook", listener.run_id) == "STOPPED"


def test_a_clean_exit_is_a_success_with_its_value(mock: MockYeedu) -> None:
    path = notebook(
        mock,
        "class CleanExit(Exception):\n    pass",
        "print('before')\nraise CleanExit('42 rows')",
        "print('not reached')",
    )
    result = run(mock, path)
    assert result.exit_value == "42 rows"
    assert [cell.status for cell in result.cells] == ["ok", "exit", "skipped"]


def test_a_kernel_that_dies_is_noticed(mock: MockYeedu) -> None:
    path = notebook(mock, "import time; time.sleep(600)")
    kill = Listener(cell_1=lambda run_id: mock.control("POST", f"runs/{run_id}/kernel/kill"))
    started_at = time.monotonic()
    with pytest.raises(YeeduKernelDied):
        run(mock, path, kill)
    assert time.monotonic() - started_at < 100


def test_a_notebook_stopped_from_outside_is_not_a_success(mock: MockYeedu) -> None:
    path = notebook(mock, "print('x', flush=True); import time; time.sleep(600)", "print('never')")
    stop = Listener(output=lambda run_id: mock.control("POST", f"runs/{run_id}", json={"status": "STOPPED"}))
    started_at = time.monotonic()
    with pytest.raises(YeeduRunCancelled, match="stopped from outside"):
        run(mock, path, stop)
    assert time.monotonic() - started_at < 100


@pytest.mark.parametrize("buffers", [False, True])
def test_no_reply_is_lost_when_the_websocket_drops(mock: MockYeedu, buffers: bool) -> None:
    mock.control("PATCH", "switches", json={"websocket_buffers": buffers})
    path = notebook(
        mock,
        "value = 1",
        "import time; print('busy', flush=True); time.sleep(1); value += 1",
        "print('value', value)",
    )
    drop = Listener(output=lambda run_id: mock.control("POST", f"runs/{run_id}/kernel/drop"))
    result = run(mock, path, drop)
    assert [cell.status for cell in result.cells] == ["ok", "ok", "ok"]
    assert result.cells[2].outputs[0].text == "value 2\n"
    assert drop.troubles


@pytest.mark.parametrize("after", range(1, 12))
def test_cells_are_executed_exactly_once_wherever_the_websocket_drops(mock: MockYeedu, after: int) -> None:
    mock.control("PATCH", "switches", json={"websocket_drop_after_messages": after, "websocket_drops": 1})
    result = run(mock, notebook(mock, "count = 1", "count += 1", "count += 1", "print(count)"))
    assert [cell.status for cell in result.cells] == ["ok"] * 4
    with mock.client("job/1") as client:
        path = f"workspace/1/notebook/run/{result.run_id}/log/stdout"
        log = client.call("GET", path, "for a log").text
    printed = log + "".join(output.text for output in result.outputs)
    assert "3" in printed
    assert "4" not in printed


def test_a_missed_failure_is_still_a_failure(mock: MockYeedu) -> None:
    path = notebook(mock, "print('busy', flush=True)\nimport time; time.sleep(1)\n1 / 0", "print('never')")
    drop = Listener(output=lambda run_id: mock.control("POST", f"runs/{run_id}/kernel/drop"))
    mock.control("PATCH", "switches", json={"websocket_swallow": ["error"]})
    with pytest.raises(YeeduCellFailed, match="ZeroDivisionError: division by zero"):
        run(mock, path, drop)
    assert "never" not in drop.output


def test_a_lost_reply_is_found_out_from_the_kernel(mock: MockYeedu) -> None:
    path = notebook(mock, "x = 20", "print(x + 1)")

    def swallow(run_id: int) -> None:
        mock.control("PATCH", "switches", json={"websocket_swallow": ["execute_reply"]})
        later(3, lambda: mock.control("PATCH", "switches", json={"websocket_swallow": []}))

    result = run(mock, path, Listener(cell_2=swallow))
    assert [cell.status for cell in result.cells] == ["ok", "ok"]


@pytest.mark.timeout(60)
def test_an_end_of_which_nothing_arrives_is_found_out_from_the_kernel(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_echo, "FIRST_SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(kernel_echo, "LATE_SECONDS", 1.0)
    path = notebook(mock, "print('once')", "print('twice')")

    def swallow(run_id: int) -> None:
        lost = ["execute_reply", "status", "execute_input", "stream"]
        mock.control("PATCH", "switches", json={"websocket_swallow": lost})
        later(2, lambda: mock.control("PATCH", "switches", json={"websocket_swallow": []}))

    listener = Listener(cell_1=swallow)
    result = run(mock, path, listener)
    assert [(cell.status, cell.execution_count) for cell in result.cells] == [("ok", 1), ("ok", 2)]
    assert "some of its outputs may be missing" in "".join(listener.troubles)


@pytest.mark.parametrize("order", ["reply_first", "idle_first"])
def test_duplicates_and_either_order_change_nothing(mock: MockYeedu, order: str) -> None:
    mock.control("PATCH", "switches", json={"websocket_duplicates": True, "websocket_order": order})
    result = run(mock, notebook(mock, "print('a', end='')", "1/1"))
    assert [cell.status for cell in result.cells] == ["ok", "ok"]
    assert [output.text for output in result.outputs] == ["a", "1.0"]


def test_a_kernel_that_is_slow_to_be_ready_is_waited_for(mock: MockYeedu) -> None:
    mock.control("PATCH", "switches", json={"kernel_not_ready_answers": 3})
    assert run(mock, notebook(mock, "1")).state == "STOPPED"


def test_sessions_that_expire_on_the_way_are_renewed(mock: MockYeedu) -> None:
    path = notebook(mock, "import time; print(1, flush=True); time.sleep(1)", "print(2)")

    def expire(run_id: int) -> None:
        mock.control("POST", "sessions/expire")
        mock.control("POST", f"runs/{run_id}/kernel/drop")

    result = run(mock, path, Listener(output=expire))
    assert [cell.status for cell in result.cells] == ["ok", "ok"]


def test_neither_token_nor_password_is_in_any_log_or_traceback(
    mock: MockYeedu, caplog: pytest.LogCaptureFixture
) -> None:
    path = notebook(mock, "print('busy', flush=True)\nimport time; time.sleep(1)", "1 / 0")
    drop = Listener(output=lambda run_id: mock.control("POST", f"runs/{run_id}/kernel/drop"))
    caplog.set_level(logging.DEBUG)
    with mock.client(path) as client:
        secrets = [client.token(), mock.password]
        mock.control("POST", "faults", json={"path": "kernel/ws/", "method": "WS", "status": 403, "skip": 1})
        with pytest.raises(YeeduCellFailed) as caught:
            execute(client, RunRequest(), drop)
        secrets.append(client.token())
    texts = [caplog.text, "".join(traceback.format_exception(caught.value)), *drop.troubles]
    assert drop.troubles
    for secret in secrets:
        assert all(secret not in text for text in texts)
