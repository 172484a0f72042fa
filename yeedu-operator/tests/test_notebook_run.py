"""A notebook's run from its kernel to its end, on a Yeedu and a kernel that do what a test says."""

from collections.abc import Callable  # noqa: TC003
from typing import Any

import pytest
from addressed import execute
from fake_clock import FakeClock
from scripted_kernel import BUSY, Answer, Channel, done, finding, lost, message, raised, stream
from scripted_yeedu import Call, ScriptedYeedu

from prefect_yeedu.errors import (
    YeeduAuthenticationError,
    YeeduCellFailed,
    YeeduConfigurationError,
    YeeduError,
    YeeduKernelDied,
    YeeduTransportError,
)
from prefect_yeedu.models import Output, RunKind, YeeduResult
from prefect_yeedu.runs.notebook_run import NotebookRun
from prefect_yeedu.runs.record import Ledger, Record
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.start import make_run
from prefect_yeedu.runs.wait_options import WaitOptions

RUN = "workspace/1/notebook/run/9"
UPDATE = "workspace/1/notebook/5/update"
STOP = "workspace/1/notebook/run/kill/9"
GATEWAY = (502, b"Bad Gateway")


class Listener(RunListener):
    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.interrupts = False

    def on_output(self, index: int, output: Output) -> None:
        if self.interrupts:
            raise KeyboardInterrupt

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)


class Notebook:
    """Notebook 5 and its run 9; what is saved is what the next one downloads."""

    def __init__(self, yeedu: ScriptedYeedu, clock: FakeClock, channel: Channel) -> None:
        self.yeedu, self.clock, self.channel = yeedu, clock, channel
        self.listener = Listener()
        self.ledger = Ledger()
        self.record = self.ledger.open()
        self.state = "RUNNING"
        self.is_away: Callable[[], bool] = lambda: False
        self.content: dict[str, Any] = {}
        channel.refuses = lambda: YeeduTransportError("refused with status 502") if self.is_away() else None
        yeedu.on("GET", RUN, lambda _: self._answer({"run_status": self.state}))
        language = {"spark_job_type": {"language": "Python3"}}
        yeedu.on("GET", "workspace/1/notebook", lambda _: self._answer({"notebook_id": 5, **language}))
        yeedu.on("GET", "workspace/1/notebook/5/run/9/download", lambda _: self._answer(self.content))
        kernel = {"kernel_info": {"kernel_status": "IDLE"}}
        yeedu.on("POST", f"{RUN}/kernel/startOrGetStatus", lambda _: self._answer(kernel))
        yeedu.on("POST", UPDATE, self._save)
        yeedu.on("POST", STOP, self._stop)

    def set_cells(self, *cells: str | tuple[str, str]) -> None:
        """Set the notebook's cells, each its code, or its code and its tag."""
        pairs = [cell if isinstance(cell, tuple) else (cell, "") for cell in cells]
        raw = [{"source": code, "metadata": {"tags": [tag] if tag else []}} for code, tag in pairs]
        self.content = {"cells": raw, "nbformat": 4}

    def run(self, *answers: list[Answer], **request: Any) -> YeeduResult:
        """Execute the notebook on a kernel that answers so."""
        self.channel.answers = list(answers)
        with self.yeedu.client("notebook/5", clock=self.clock) as client:
            run = make_run(client.api(RunKind.NOTEBOOK), 9, RunRequest(**request), self.listener)
            assert isinstance(run, NotebookRun)
            run.ledger, run.stop_clock = self.ledger, self.clock
            return run.execute(5, record=self.record)

    def run_again(self, *answers: list[Answer], **request: Any) -> YeeduResult:
        """Execute it as the next attempt of the same call does."""
        self.record = self.ledger.open()
        assert not self.record.is_new
        return self.run(*answers, **request)

    def called(self) -> list[str]:
        """Return which of stopping and saving was asked for, in order."""
        names = {STOP: "stop", UPDATE: "save"}
        return [names[call.path] for call in self.yeedu.calls if call.path in names]

    def _answer(self, body: Any) -> tuple[int, Any]:
        return GATEWAY if self.is_away() else (200, body)

    def _save(self, call: Call) -> tuple[int, Any]:
        self.content = call.body
        return 200, {}

    def _stop(self, _: Call) -> tuple[int, Any]:
        self.state = "STOPPED"
        return 201, {}


@pytest.fixture
def notebook(yeedu: ScriptedYeedu, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    clock = FakeClock()
    channel = Channel(clock)
    monkeypatch.setattr("prefect_yeedu.runs.kernel_connection.KernelChannel", lambda *_: channel)
    return Notebook(yeedu, clock, channel)


def test_that_the_cells_are_done_is_known_before_the_run_is_stopped(notebook: Notebook) -> None:
    notebook.set_cells("a", "b")
    seen: list[Record] = []

    def stop(call: Call) -> tuple[int, Any]:
        seen.append(notebook.ledger.open())
        notebook.state = "STOPPED"
        return 201, {}

    notebook.yeedu.on("POST", STOP, stop)
    result = notebook.run(done(1), raised("CleanExit", "7", 2))
    assert (seen[0].cells_done, seen[0].exit_value) == (True, "7")
    assert (result.state, result.exit_value) == ("STOPPED", "7")
    assert notebook.called() == ["save", "stop"]


def test_a_run_is_stopped_before_the_outputs_of_a_failed_notebook_are_saved(notebook: Notebook) -> None:
    notebook.set_cells("a", "b")
    with pytest.raises(YeeduCellFailed, match=r"Cell 2 of 2 .* failed with ValueError: bad"):
        notebook.run(done(1), raised("ValueError", "bad", 2))
    assert notebook.called() == ["stop", "save"]
    assert [cell["metadata"]["prefect_yeedu"]["status"] for cell in notebook.content["cells"]] == [
        "ok",
        "error",
    ]


def test_a_run_is_stopped_before_the_outputs_of_an_interrupted_notebook_are_saved(
    notebook: Notebook,
) -> None:
    notebook.set_cells("a", "b")
    notebook.listener.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        notebook.run(done(1), [BUSY, stream("x")])
    assert notebook.called() == ["stop", "save"]


def test_a_run_that_cannot_be_stopped_takes_no_time_for_its_outputs(notebook: Notebook) -> None:
    notebook.set_cells("a", "b")
    notebook.yeedu.on("POST", STOP, GATEWAY)
    with pytest.raises(YeeduCellFailed):
        notebook.run(done(1), raised("ValueError", "bad", 2))
    assert "save" not in notebook.called()


def test_a_run_goes_on_when_nothing_but_the_way_to_yeedu_fails(notebook: Notebook) -> None:
    notebook.set_cells("a", "b")
    notebook.is_away = lambda: notebook.clock.time > 4
    with pytest.raises(YeeduError) as caught:
        notebook.run(done(1), [BUSY, lost(5)])
    assert caught.value.is_retryable
    assert notebook.called() == []
    notebook.is_away = lambda: False
    result = notebook.run_again(finding(3, True))
    assert [cell.status for cell in result.cells] == ["ok", "ok"]
    assert notebook.channel.codes == ["a", "b"]


@pytest.mark.parametrize("away", [(0, 3000), (0.1, 3000)], ids=["from the start", "once it runs"])
def test_an_outage_before_the_first_cell_is_waited_for(notebook: Notebook, away: tuple[float, float]) -> None:
    notebook.set_cells("a")
    notebook.is_away = lambda: away[0] <= notebook.clock.time < away[1]
    states = ["SUBMITTED", "RUNNING"]

    def look(_: Call) -> tuple[int, Any]:
        if notebook.is_away():
            return GATEWAY
        notebook.clock.time += 0.2
        notebook.state = states.pop(0) if states else notebook.state
        return 200, {"run_status": notebook.state}

    notebook.yeedu.on("GET", RUN, look)
    assert [cell.status for cell in notebook.run(done(1)).cells] == ["ok"]
    assert notebook.clock.time > 3000


def test_a_result_fetched_again_equals_the_first_one(notebook: Notebook) -> None:
    notebook.set_cells("a", "b", "c", "d")
    shown = message(
        "execute_result", data={"text/plain": "45", "text/html": "<b>45</b>"}, metadata={}, execution_count=2
    )
    value = "v" * 2000
    first = notebook.run(done(1, stream("x\n"), stream("y\n")), done(2, shown), raised("CleanExit", value, 3))
    assert [cell.status for cell in first.cells] == ["ok", "ok", "exit", "skipped"]
    sent = len(notebook.channel.sent)
    assert notebook.run_again() == first
    assert len(notebook.channel.sent) == sent
    assert notebook.called() == ["save", "stop"]
    assert notebook.listener.troubles == []


def test_a_result_that_was_not_saved_says_so(notebook: Notebook) -> None:
    notebook.set_cells("a", "# text")
    first = notebook.run(done(1, stream("x\n")), done(2), options=WaitOptions(saves_outputs=False))
    again = notebook.run_again()
    assert [cell.status for cell in again.cells] == [cell.status for cell in first.cells]
    assert not again.outputs
    assert ["does not have all of their outputs" in trouble for trouble in notebook.listener.troubles] == [
        True
    ]


def test_an_attempt_that_finds_cells_done_but_the_run_not_stopped_stops_it(notebook: Notebook) -> None:
    notebook.set_cells("a")
    notebook.yeedu.on("POST", STOP, GATEWAY)
    first = notebook.run(done(1, stream("x")))
    assert first.state == "RUNNING"
    notebook.yeedu.on("POST", STOP, notebook._stop)  # pyright: ignore[reportPrivateUsage]
    again = notebook.run_again()
    assert (again.state, again.cells) == ("STOPPED", first.cells)


def test_parameters_are_a_cell_of_the_run_and_not_of_the_definition(notebook: Notebook) -> None:
    notebook.set_cells(("day = 0", "parameters"), "print(day)")
    result = notebook.run(done(1), done(2), done(3, stream("5\n")), parameters={"day": 5})
    assert notebook.channel.codes == ["day = 0", "# Parameters\nday = 5", "print(day)"]
    assert [(cell.index, cell.source, cell.tags) for cell in result.cells] == [
        (1, "day = 0", ("parameters",)),
        (2, "# Parameters\nday = 5", ("injected-parameters",)),
        (3, "print(day)", ()),
    ]
    saves = notebook.yeedu.called("POST", UPDATE)
    assert {call.query for call in saves} == {"run_id=9"}
    assert [cell["source"] for cell in notebook.content["cells"]] == [cell.source for cell in result.cells]
    assert notebook.run_again(parameters={"day": 5}) == result


def test_a_run_with_parameters_is_taken_over_where_the_last_attempt_got_to(notebook: Notebook) -> None:
    notebook.set_cells("a", "b")
    notebook.is_away = lambda: notebook.clock.time > 4
    with pytest.raises(YeeduError):
        notebook.run(done(1), done(2), [BUSY, lost(5)], parameters={"x": 1})
    notebook.is_away = lambda: False
    notebook.channel.sent.clear()
    result = notebook.run_again(finding(3, True), done(3, stream("b")), parameters={"x": 2})
    assert notebook.channel.codes == ["b"]
    assert [cell.status for cell in result.cells] == ["ok", "ok", "ok"]
    assert result.cells[0].source == "# Parameters\nx = 1"  # with which the kernel was started


def test_a_language_without_parameters_is_refused_before_anything_is_run(yeedu: ScriptedYeedu) -> None:
    definition = {"notebook_id": 5, "spark_job_type": {"language": "SQL"}}
    yeedu.on("GET", "workspace/1/notebook", (200, definition))
    with yeedu.client("notebook/5") as client, pytest.raises(YeeduConfigurationError, match="is in SQL"):
        execute(client, RunRequest(parameters={"x": 1}))
    assert not yeedu.called("POST", "workspace/1/notebook/run")


@pytest.mark.parametrize(
    "options", [{"parameters": {"x": 1}}, {"allow_errors": True}, {"cell_timeout_seconds": 5}]
)
def test_what_is_for_notebooks_is_refused_for_a_job(yeedu: ScriptedYeedu, options: dict[str, Any]) -> None:
    with yeedu.client("job/5") as client, pytest.raises(YeeduConfigurationError, match="this is a job"):
        execute(client, RunRequest(**options))
    assert not yeedu.called("POST", "workspace/1/spark/job/run")


def test_cells_that_may_raise_do_not_end_the_notebook_and_skipped_ones_are_not_sent(
    notebook: Notebook,
) -> None:
    notebook.set_cells(("a", "raises-exception"), ("b", "skip-execution"), "c")
    result = notebook.run(raised("ValueError", "on purpose", 1), done(2))
    assert [cell.status for cell in result.cells] == ["error", "skipped", "ok"]
    assert notebook.channel.codes == ["a", "c"]
    assert [request["content"]["stop_on_error"] for request in notebook.channel.sent] == [False, True]


def test_errors_can_be_allowed_everywhere(notebook: Notebook) -> None:
    notebook.set_cells("a", "b")
    result = notebook.run(raised("ValueError", "bad", 1), raised("KeyError", "k", 2), allow_errors=True)
    assert [cell.status for cell in result.cells] == ["error", "error"]
    assert [output.name for output in result.outputs] == ["ValueError", "KeyError"]


def test_a_cell_that_took_too_long_is_named(notebook: Notebook) -> None:
    notebook.set_cells("a", "b")

    def interrupt(_: Call) -> tuple[int, Any]:
        parent = {"msg_id": notebook.channel.sent[-1]["header"]["msg_id"]}
        answers = raised("KeyboardInterrupt", count=1)
        notebook.channel.waiting += [{**answer, "parent_header": parent} for answer in answers]
        return 200, {}

    notebook.yeedu.on("POST", f"{RUN}/kernel/interrupt", interrupt)
    with pytest.raises(YeeduCellFailed, match=r"Cell 1 of 2 .* did not end within 20 seconds") as caught:
        notebook.run([BUSY], cell_timeout_seconds=20)
    assert caught.value.cell_index == 1
    assert notebook.called() == ["stop", "save"]


def test_outputs_are_kept_up_to_the_notebook_s_limit(notebook: Notebook) -> None:
    notebook.set_cells("a", "b", "c")
    printed = [stream("x" * 6)]
    options = WaitOptions(max_output_characters=10, max_cell_output_characters=8)
    result = notebook.run(done(1, *printed * 2), done(2, *printed), done(3, *printed), options=options)
    kept = [[output.text.strip() for output in cell.outputs] for cell in result.cells]
    assert kept[0] == ["x" * 8, f"Further outputs are left out: {CELL_LIMIT}"]
    assert kept[1] == ["x" * 2, f"Further outputs are left out: {NOTEBOOK_LIMIT}"]
    assert kept[2] == ["", f"Further outputs are left out: {NOTEBOOK_LIMIT}"]


CELL_LIMIT = (
    "no more than 8 characters in 1,000 outputs of a cell are kept "
    "(max_cell_output_characters, max_cell_outputs)."
)
NOTEBOOK_LIMIT = "no more than 10 characters of a notebook's outputs are kept (max_output_characters)."


def test_a_kernel_that_is_never_ready_is_given_up(notebook: Notebook) -> None:
    notebook.set_cells("a")
    path = f"{RUN}/kernel/startOrGetStatus"
    notebook.yeedu.on("POST", path, (200, {"kernel_info": {"kernel_status": "not_started"}}))
    with pytest.raises(YeeduKernelDied, match="was not ready within 30 seconds"):
        notebook.run(options=WaitOptions(kernel_seconds=30))
    assert notebook.called() == ["stop"]


def test_a_failed_notebook_is_run_again_though_its_stopped_run_is_called_done(notebook: Notebook) -> None:
    """What becomes of a notebook's run that is stopped says nothing about its cells."""
    notebook.set_cells("a")
    ledger = Ledger()

    def submit(_: Call) -> tuple[int, Any]:
        notebook.state = "RUNNING"
        return 200, {"run_id": 9}

    def stop(_: Call) -> tuple[int, Any]:
        notebook.state = "DONE"
        return 201, {}

    notebook.yeedu.on("POST", "workspace/1/notebook/run", submit)
    notebook.yeedu.on("POST", STOP, stop)
    notebook.channel.answers = [raised("ValueError", "bad", 1), done(1)]
    with notebook.yeedu.client("notebook/5", clock=notebook.clock) as client:
        with pytest.raises(YeeduCellFailed):
            execute(client, RunRequest(), None, ledger)
        result = execute(client, RunRequest(), None, ledger)
        assert [cell.status for cell in result.cells] == ["ok"]
        assert execute(client, RunRequest(), None, ledger) == result
    assert len(notebook.yeedu.called("POST", "workspace/1/notebook/run")) == 2


def test_a_kernel_that_yeedu_refuses_is_given_up_with_its_reason(notebook: Notebook) -> None:
    notebook.set_cells("1")
    refusal = {"error_code": "RFA-000403", "error_message": "You may not start kernels here"}
    notebook.yeedu.on("POST", f"{RUN}/kernel/startOrGetStatus", (403, refusal))
    with pytest.raises(YeeduAuthenticationError, match="You may not start kernels here"):
        notebook.run()
    assert 60 <= notebook.clock.time < 90
    assert notebook.called() == ["stop"]


def test_a_kernel_that_is_not_ready_in_time_says_what_yeedu_last_said(notebook: Notebook) -> None:
    notebook.set_cells("1")
    conflict = {"error_code": "RFA-000409", "error_message": "The kernel is still being prepared"}
    notebook.yeedu.on("POST", f"{RUN}/kernel/startOrGetStatus", (409, conflict))
    with pytest.raises(YeeduKernelDied, match=r"not ready within 600 seconds .*still being prepared"):
        notebook.run()
    assert notebook.clock.time >= 600
