"""What people expect of notebooks, on the mock Yeedu's real Jupyter kernels."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from addressed import execute
from mock_yeedu import MockYeedu

from prefect_yeedu.errors import YeeduCellFailed, YeeduKernelDied, YeeduRunTimedOut
from prefect_yeedu.models import CellResult, Output, RunKind, YeeduResult
from prefect_yeedu.runs import cell_runner
from prefect_yeedu.runs.notebook_run import NotebookRun
from prefect_yeedu.runs.record import Ledger
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.start import make_run

CATCHES_INTERRUPTS = """
import time
print('begun', flush=True)
for _ in range(100):
    try:
        time.sleep(1)
    except KeyboardInterrupt:
        pass
"""


class Listener(RunListener):
    def __init__(self, on_finished: Callable[[int], None] = lambda index: None) -> None:
        self._on_finished = on_finished
        self.output = ""
        self.troubles: list[str] = []

    def on_output(self, index: int, output: Output) -> None:
        self.output += output.text

    def on_cell_finished(self, result: CellResult) -> None:
        self._on_finished(result.index)

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)


def cell(source: str, *tags: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": []}


def add(mock: MockYeedu, *cells: str | dict[str, Any], language: str = "Python3") -> int:
    return mock.control("POST", "notebooks", json={"cells": list(cells), "language": language})["notebook_id"]


def run(mock: MockYeedu, notebook: int, listener: RunListener | None = None, **request: Any) -> YeeduResult:
    with mock.client(f"notebook/{notebook}") as client:
        return execute(client, RunRequest(**request), listener)


def test_a_notebook_gets_its_parameters(mock: MockYeedu) -> None:
    notebook = add(
        mock, "import math", cell("day, names, name = 0, [], ''", "parameters"), "print(day, names, name)"
    )
    parameters = {"day": 5, "names": ["a", None, {"b": 1.5}], "name": 'it\'s "quoted"\n'}
    result = run(mock, notebook, parameters=parameters)
    assert result.cells[3].outputs[0].text == "5 ['a', None, {'b': 1.5}] it's \"quoted\"\n\n"
    assert result.cells[2].tags == ("injected-parameters",)
    with mock.client(f"notebook/{notebook}") as client:
        path = f"workspace/1/notebook/{notebook}/run/{result.run_id}/download"
        saved = client.get_object(path, "for the notebook")
    assert [one["source"] for one in saved["cells"]] == [one.source for one in result.cells]
    assert len(run(mock, notebook).cells) == 3


@pytest.mark.parametrize("dies_after", [1, 2, 3])
def test_a_run_with_parameters_is_taken_over_by_the_next_attempt(mock: MockYeedu, dies_after: int) -> None:
    """Each cell counts, the one with parameters too, and none of them is executed twice."""

    class ProcessEndsError(BaseException):
        """Stands for the end of the process, before which nothing more is done."""

    class Dying(NotebookRun):
        def _goes_on_after(self, error: BaseException) -> bool:
            return isinstance(error, ProcessEndsError)

    def die(index: int) -> None:
        if index == dies_after:
            raise ProcessEndsError

    notebook = add(mock, cell("count = 0", "parameters"), "count += 1", "print('count', count)")
    request = RunRequest(parameters={"count": 10})
    ledger = Ledger()
    with mock.client(f"notebook/{notebook}") as client:
        api = client.api(RunKind.NOTEBOOK)
        record = ledger.open()
        first = Dying(api, api.submit(notebook), listener=Listener(die), ledger=ledger)
        first.cell_options = request.cell_options
        with pytest.raises(ProcessEndsError):
            first.execute(notebook, record=record)
        second = make_run(api, first.run_id, request, listener := Listener())
        assert isinstance(second, NotebookRun)
        second.ledger = ledger
        result = second.execute(notebook, record=ledger.open())
    assert [one.status for one in result.cells] == ["ok"] * 4
    assert result.outputs[-1].text == "count 11\n"
    assert any(f"{dies_after} of 4 cells have been executed" in trouble for trouble in listener.troubles)


def test_tags_are_followed(mock: MockYeedu) -> None:
    cells = [
        cell("raise ValueError('shown on purpose')", "raises-exception"),
        cell("raise SystemExit('not to be run')", "skip-execution"),
        cell("print('still here')"),
    ]
    listener = Listener()
    result = run(mock, add(mock, *cells), listener)
    assert [one.status for one in result.cells] == ["error", "skipped", "ok"]
    assert result.cells[0].outputs[0].evalue == "shown on purpose"
    assert listener.output.endswith("still here\n")
    assert "not to be run" not in listener.output


def test_errors_can_be_allowed(mock: MockYeedu) -> None:
    result = run(mock, add(mock, *["1 / 0"] * 5, "print('end')"), allow_errors=True)
    assert [one.status for one in result.cells] == ["error"] * 5 + ["ok"]


def test_a_cell_that_takes_too_long_is_interrupted(mock: MockYeedu) -> None:
    notebook = add(mock, "1", "print('begun', flush=True)\nwhile True:\n    pass", "print('never')")
    with pytest.raises(
        YeeduCellFailed, match=r"Cell 2 of 3 .* within 8 seconds \(cell_timeout_seconds\)"
    ) as caught:
        run(mock, notebook, cell_timeout_seconds=8)
    assert caught.value.ename == "KeyboardInterrupt"


def test_an_interrupted_cell_may_be_one_that_may_raise(mock: MockYeedu) -> None:
    notebook = add(mock, cell("while True:\n    pass", "raises-exception"), "print('then')")
    result = run(mock, notebook, cell_timeout_seconds=8)
    assert [one.status for one in result.cells] == ["error", "ok"]


def test_a_cell_that_goes_on_after_an_interrupt_ends_with_its_run(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_runner, "INTERRUPT_SECONDS", 2.0)
    with pytest.raises(YeeduRunTimedOut, match="went on after it was interrupted") as caught:
        run(mock, add(mock, CATCHES_INTERRUPTS), cell_timeout_seconds=8)
    with mock.client("job/1") as client:
        path = f"workspace/1/notebook/run/{caught.value.run_id}"
        assert client.get_object(path, "about the run")["run_status"] in {"STOPPING", "STOPPED"}


@pytest.mark.parametrize("delay_seconds", [0.0, 0.6])
def test_a_kernel_that_dies_is_one_error_whoever_notices(mock: MockYeedu, delay_seconds: float) -> None:
    """The websocket and the run's state tell of it, and either may be the first."""
    notebook = add(mock, "print('begun', flush=True)\nimport time; time.sleep(600)")

    class Killer(Listener):
        def on_output(self, index: int, output: Output) -> None:
            super().on_output(index, output)
            if self.output != "begun\n":
                return  # one line may come in two pieces
            run_id = max(
                one["run_id"] for one in client.get_object("workspace/1/notebook/runs", "for runs")["data"]
            )
            threading.Timer(delay_seconds, lambda: mock.control("POST", f"runs/{run_id}/kernel/kill")).start()

    with mock.client(f"notebook/{notebook}") as client, pytest.raises(YeeduKernelDied):
        execute(client, RunRequest(), Killer())


def test_a_result_is_a_notebook_file(mock: MockYeedu, tmp_path: Path) -> None:
    html = "from IPython.display import HTML, JSON, display\ndisplay(JSON({'a': [1]}))\nHTML('<b>x</b>')"
    cells = [cell("x = 1", "parameters"), {"cell_type": "markdown", "source": "# Text"}, html, "print(x)"]
    result = run(mock, add(mock, *cells, cell("1 / 0", "raises-exception")), parameters={"x": 2})
    file = result.write_ipynb(tmp_path / "executed.ipynb")
    notebook: Any = nbformat.read(file, as_version=4)  # pyright: ignore[reportUnknownMemberType]
    nbformat.validate(notebook)  # pyright: ignore[reportUnknownMemberType]
    assert [one.cell_type for one in notebook.cells] == ["code", "code", "markdown", *["code"] * 3]
    assert notebook.cells[1].metadata.tags == ["injected-parameters"]
    assert notebook.cells[3].outputs[0].data["application/json"] == {"a": [1]}
    assert notebook.cells[3].outputs[1].execution_count == 3
    assert notebook.cells[4].outputs[0].text == "2\n"
    assert notebook.cells[5].outputs[0].ename == "ZeroDivisionError"
    assert notebook.metadata.language_info.name == "python"
