"""Cell results as Yeedu keeps them, and as a later attempt reads them again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_yeedu.models import CellResult, Output
from prefect_yeedu.runs.saved_outputs import (
    MAX_NOTEBOOK_BYTES,
    TOO_LARGE,
    duration_text,
    fitting,
    is_whole,
    restore_result,
    result_of,
    save_result,
)
from prefect_yeedu.wire.notebook_document import Cell

CELL = Cell(1, "cell", "x", True, source="x", tags=("a",))
OUTPUTS = (
    Output("stream", "stdout", {"text/plain": "a\n"}),
    Output("display_data", "", {"text/html": "<b>", "text/plain": "plain"}, {"isolated": True}),
    Output("display_data", "", {"image/png": "aGk=", "application/json": '{"a": [1, 2]}'}),
    Output("execute_result", "", {"text/plain": "45"}, execution_count=3),
    Output("error", "E", {"text/plain": "trace\nE: v"}, evalue="v"),
)


def saved(result: CellResult, *, is_first_form: bool = False) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": "code", "source": "x", "metadata": {"id": "kept"}}
    save_result(cell, result, is_first_form=is_first_form, run_id=9, run_by="me")
    return json.loads(json.dumps(cell))


@pytest.mark.parametrize("is_first_form", [False, True])
@pytest.mark.parametrize("status", ["ok", "error", "exit", "skipped"])
def test_a_result_fetched_again_equals_the_first_one(status: str, is_first_form: bool) -> None:
    result = result_of(CELL, status, OUTPUTS, 0.5, 3)
    cell = saved(result, is_first_form=is_first_form)
    assert restore_result(CELL, cell, 9) == result
    assert restore_result(CELL, cell, 10) is None
    assert cell["metadata"]["id"] == "kept"


@given(st.text(), st.dictionaries(st.sampled_from(["text/plain", "text/html", "image/png"]), st.text()))
def test_any_output_fetched_again_equals_the_first_one(text: str, data: dict[str, str]) -> None:
    outputs = (
        Output("stream", "stderr", {"text/plain": text}),
        Output("display_data", "", data),
        Output("error", "E", {"text/plain": text}, evalue=text),
    )
    result = result_of(CELL, "ok", outputs)
    assert restore_result(CELL, saved(result), 9) == result


def test_yeedus_editor_finds_its_own_form() -> None:
    result = result_of(CELL, "ok", OUTPUTS, 0.5, 3)
    cell = saved(result)
    assert [kind["output_type"] for kind in cell["outputs"]] == ["text", "html", "image", "text", "error"]
    assert cell["outputs"][1]["Celloutput"] == "<b>"
    assert (cell["metadata"]["lastRunTime"], cell["metadata"]["runBy"]) == ("0.500s", "me")
    first_form = saved(result, is_first_form=True)
    assert first_form["output"][0] == {"type": "text", "Celloutput": "a\n"}


def test_a_notebook_larger_than_yeedu_takes_loses_the_copies_first() -> None:
    text = "y" * (MAX_NOTEBOOK_BYTES // 3 * 2)
    cell = saved(result_of(CELL, "ok", (Output("stream", "stdout", {"text/plain": text}),), 0.5, 3))
    fitted = fitting({"cells": [cell]})
    assert len(json.dumps(fitted)) < MAX_NOTEBOOK_BYTES
    assert fitted["cells"][0]["outputs"] == [{"output_type": "text", "Celloutput": text}]
    assert not is_whole(fitted["cells"][0])
    assert fitting(fitted) is fitted


def test_that_outputs_were_too_large_is_not_what_a_cell_printed() -> None:
    text = "y" * MAX_NOTEBOOK_BYTES
    cell = saved(result_of(CELL, "ok", (Output("stream", "stdout", {"text/plain": text}),), 0.5, 3))
    fitted = fitting({"cells": [cell]})["cells"][0]
    assert fitted["outputs"] == [{"output_type": "text", "Celloutput": TOO_LARGE}]
    assert len(json.dumps(fitted)) < 1000
    assert not is_whole(fitted)
    assert restore_result(CELL, fitted, 9) == result_of(CELL, "ok", (), 0.5, 3)


@pytest.mark.parametrize("kept", [None, 5, [], {}, {"run_id": 9}, {"run_id": 9, "status": 1}])
def test_what_nobody_saved_is_not_restored(kept: object) -> None:
    assert restore_result(CELL, {"metadata": {"prefect_yeedu": kept}}, 9) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1049, "0.105s"), (3.4, "3s"), (125, "2m 5s"), (3723, "1h 2m 3s")]
)
def test_durations_read_as_in_yeedus_editor(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
