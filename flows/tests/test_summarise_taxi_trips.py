"""The flow summarise-taxi-trips, and that its limit holds over all runs together."""

from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from summarise_taxi_trips import LIMIT, summarise_taxi_trips
from taxi_trips import Month, make_sample

FLOWS = __file__.rpartition("/tests/")[0]
START = """
import sys
from summarise_taxi_trips import summarise_taxi_trips
summarise_taxi_trips(2020, ["green"], 2, sys.argv[1])
"""


def test_every_colour_and_month_is_summarised(prefect_server: str) -> None:
    summaries = summarise_taxi_trips(2019, at_once=24)
    assert [summary["month"] for summary in summaries[:2]] == ["green 2019-01", "green 2019-02"]
    assert len(summaries) == 24
    assert all(900 < summary["trips"] < 1000 and summary["revenue"] > 0 for summary in summaries)
    with get_client(sync_client=True) as client:
        assert client.read_global_concurrency_limit_by_name(LIMIT).limit == 24


@pytest.mark.long
def test_two_runs_together_never_work_on_more_files_than_the_limit(
    run_python: Callable[..., Any], file_server: Any
) -> None:
    # One file serves for all months: most of its rows are of another month, and are left out.
    file_server.body = make_sample(Month("green", 2020, 1))
    file_server.delay_seconds = 0.3
    runs = [run_python("-c", START, file_server.template, PYTHONPATH=FLOWS) for _ in range(2)]
    for run in runs:
        output, _ = run.communicate(timeout=110)
        assert run.returncode == 0, output
    assert len(file_server.asked) == 24
    assert file_server.most_active == 2, "the limit holds, and is made use of"


def test_a_file_that_is_missing_is_named_and_the_others_are_tried(
    prefect_server: str, file_server: Any
) -> None:
    file_server.body = make_sample(Month("green", 2020, 1))
    file_server.statuses = [404] * 2
    state = summarise_taxi_trips(2020, ["green"], 6, file_server.template, return_state=True)
    assert state.is_failed()
    assert "2 of 12 files were not summarised." in (state.message or "")
    assert "The server answers 404 Not Found" in (state.message or "")
    assert len(file_server.asked) == 12
