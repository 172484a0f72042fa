"""The flow run-yeedu-pipeline, with a mock Yeedu and a real warehouse."""

import shlex
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow

from run_yeedu_pipeline import load_output, notebook_arguments, run_yeedu_pipeline

Query = Callable[..., list[tuple[Any, ...]]]
ROWS = "SELECT source, yeedu_run_id, position, text FROM yeedu_output ORDER BY source, position"


def test_the_output_of_both_is_in_the_warehouse_and_the_notebook_knows_of_the_job(
    query: Query, address: Callable[[str], str]
) -> None:
    state = run_yeedu_pipeline(address("job/101"), address("notebook/201"), return_state=True)
    assert state.is_completed(), state.message
    result: dict[str, Any] = state.result()
    rows = query(ROWS)
    assert len(rows) == result["lines"]
    job = [text for source, _, _, text in rows if source == "job"]
    notebook = [text for source, _, _, text in rows if source == "notebook"]
    assert job[0] == f"Hello from Yeedu, run {result['job_run']}"
    assert job[-1] == "Done."
    assert notebook[0].startswith("Hello from a Yeedu notebook")
    assert "45" in notebook
    assert {number for source, number, _, _ in rows if source == "notebook"} == {result["notebook_run"]}


def test_a_failing_job_loads_nothing(query: Query, address: Callable[[str], str]) -> None:
    state = run_yeedu_pipeline(address("job/102"), address("notebook/201"), return_state=True)
    assert state.is_failed()
    assert "ERROR" in (state.message or "")
    assert query("SELECT to_regclass('yeedu_output')") == [(None,)]


def test_addresses_the_wrong_way_round_are_told(query: Query, address: Callable[[str], str]) -> None:
    state = run_yeedu_pipeline(address("notebook/201"), address("job/101"), return_state=True)
    assert state.is_failed()
    assert "is the address of a notebook; the pipeline needs a job here." in (state.message or "")


@pytest.mark.parametrize("last", ["Done.", 'it\'s "done"', "$HOME; rm -rf /", ""])
def test_the_notebook_gets_the_jobs_last_line_as_one_word(last: str) -> None:
    words = shlex.split(notebook_arguments({"source": "job", "yeedu_run_id": 17, "lines": ["first", last]}))
    assert words == ["--job-run", "17", "--job-result", last or "first"]


def test_odd_text_arrives_as_it_is_and_loading_twice_changes_nothing(query: Query) -> None:
    lines = ['a "quoted", line', "two\nlines", "nul\0byte", "\\N", " "]
    run_id = "7a0e4a52-6d3f-4b1e-9a86-3a7b2b2f6a10"
    steps: Any = [{"source": "job", "yeedu_run_id": 1, "lines": lines}]

    @flow
    def load() -> int:
        return load_output(run_id, steps, "warehouse")

    assert load() == 5
    assert load() == 5
    stored = [text for *_, text in query(ROWS)]
    assert stored == [line.replace("\0", "\N{REPLACEMENT CHARACTER}") for line in lines]
