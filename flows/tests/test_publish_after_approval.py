"""The flow publish-after-approval: approved, refused, and left alone, through the API that the UI uses."""

from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from load_taxi_trips import load_taxi_trips
from publish_after_approval import publish_after_approval

Query = Callable[..., list[tuple[Any, ...]]]
WaitFor = Callable[..., Any]
FLOWS = __file__.rpartition("/tests/")[0]
START = """
import sys
from publish_after_approval import publish_after_approval
publish_after_approval(int(sys.argv[1]))
"""


def waiting_run(year: int) -> Any:
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(
                {"name": {"any_": [f"report of {year}"]}, "state": {"type": {"any_": ["PAUSED"]}}}
            )
        )
    return runs[0] if runs else None


@pytest.mark.long  # tests/e2e does the same on the platform
@pytest.mark.parametrize(("year", "approve"), [(2016, True), (2015, False)])
def test_it_is_published_only_with_approval(
    query: Query, run_python: Callable[..., Any], wait_for: WaitFor, year: int, approve: bool
) -> None:
    load_taxi_trips([1], year)
    process = run_python("-c", START, str(year), PYTHONPATH=FLOWS)
    run = wait_for("waiting run", lambda: waiting_run(year) or process.poll() is not None, 90)
    assert process.poll() is None, process.communicate()
    assert query("SELECT to_regclass('published_reports')") == [(None,)], "nothing is published before"
    with get_client(sync_client=True) as client:
        schema = client.read_flow_run_input(run.id, str(run.state.state_details.run_input_keyset["schema"]))
        assert "approve" in schema
        client.resume_flow_run(run.id, run_input={"approve": approve, "comment": "seen\nit"})
    output, _ = process.communicate(timeout=100)
    assert (process.returncode == 0) == approve, output
    if approve:
        ((text, comment),) = query("SELECT report, comment FROM published_reports WHERE year = %s", year)
        assert f"# Taxi trips of {year}" in text
        assert "| green | 1 | 9" in text
        assert comment == "seen it"
    else:
        assert f"The report of {year} was refused: seen it." in output
        assert query("SELECT to_regclass('published_reports')") == [(None,)]


def test_nobody_deciding_in_time_fails_the_run(
    query: Query, read_log: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_taxi_trips([1], 2014)
    monkeypatch.setattr("publish_after_approval.SECONDS_PER_MINUTE", 2)
    state = publish_after_approval(2014, 1, return_state=True)
    assert state.is_failed()
    sentence = "Nobody decided about the report of 2014 within 1 minutes."
    # The server fails it as well, and tells either that or the flow's own reason: whoever comes last.
    assert any(reason in (state.message or "") for reason in ("never resumed", sentence))
    assert any(sentence in line for line in read_log(state))


def test_a_year_without_trips_is_told_at_once(query: Query) -> None:
    state = publish_after_approval(2013, return_state=True)
    assert "The warehouse has no taxi trips of 2013; run load-taxi-trips for that year first." in (
        state.message or ""
    )
