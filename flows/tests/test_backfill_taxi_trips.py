"""The flow backfill-taxi-trips: every month, a limited number at a time, and none left out in silence."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.objects import State

from backfill_taxi_trips import backfill_taxi_trips, months_between
from load_taxi_trips import fetch_to_lake
from taxi_trips import Month, make_sample

Query = Callable[..., list[tuple[Any, ...]]]
COUNTS = "SELECT colour, year, month FROM taxi_trips GROUP BY 1, 2, 3 HAVING count(*) > 900 ORDER BY 1, 2, 3"


def table_of(state: State[Any]) -> list[dict[str, Any]]:
    """The run's table of months."""
    run = {
        "flow_run_id": {"any_": [str(state.state_details.flow_run_id)]},
        "key": {"any_": ["taxi-backfill"]},
    }
    with get_client(sync_client=True) as client:
        [artifact] = client.read_artifacts(artifact_filter=ArtifactFilter.model_validate(run))
    return json.loads(str(artifact.data))


def test_months_over_a_years_end_are_loaded_for_each_colour(query: Query) -> None:
    state = backfill_taxi_trips("2018-12", "2019-01", refresh=True, return_state=True)
    assert state.is_completed(), state.message
    months = [(colour, *month) for colour in ("green", "yellow") for month in ((2018, 12), (2019, 1))]
    assert query(COUNTS) == months
    names = [f"{colour} {year}-{month:02}" for colour, year, month in months]
    assert [row["month"] for row in table_of(state)] == names
    parent = {"parent_flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(parent))
    assert sorted(run.name for run in runs) == names


def test_a_month_that_fails_is_named_and_a_repetition_loads_it(
    query: Query, file_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_to_lake, "retry_delay_seconds", [0.01] * 4)
    file_server.body = make_sample(Month("green", 2017, 5))
    file_server.statuses = [404]
    months: Any = {"first": "2017-05", "last": "2017-05", "source_url": file_server.template}
    state = backfill_taxi_trips(**months, colours=["green"], return_state=True)
    assert state.is_failed()
    assert "1 of 1 months were not loaded. green 2017-05: The server answers 404" in (state.message or "")
    [row] = table_of(state)
    assert row["rows"] is None
    assert "404" in row["reason"]
    once, again = (backfill_taxi_trips(**months, colours=["green"], return_state=True) for _ in range(2))
    assert once.is_completed(), once.message
    assert table_of(once) == table_of(again)
    assert query("SELECT count(*) FROM taxi_trips") == [(table_of(once)[0]["rows"],)]
    assert len(file_server.asked) == 2, "within a day nothing is downloaded twice"


def test_no_more_months_are_loaded_at_a_time_than_allowed(query: Query, file_server: Any) -> None:
    file_server.body = make_sample(Month("green", 2016, 1))
    file_server.meeting = threading.Barrier(2)
    months = ("2016-01", "2016-04", ["green"], 2, file_server.template)
    state = backfill_taxi_trips(*months, return_state=True)  # type: ignore[arg-type]
    assert len(file_server.asked) == 4
    assert file_server.most_active == 2
    assert [row["rows"] or 0 for row in table_of(state)].count(0) == 3, "the file is that of January"


def test_a_backfill_without_a_month_fails(prefect_server: str) -> None:
    state = backfill_taxi_trips("2020-02", "2020-01", return_state=True)
    assert "There is no month from 2020-02 to 2020-01" in (state.message or "")
    assert state.is_failed()


@pytest.mark.parametrize("arguments", [{"first": "2020-13"}, {"last": "January"}, {"at_once": 0}])
def test_parameters_that_make_no_sense_are_refused(prefect_server: str, arguments: dict[str, Any]) -> None:
    state = backfill_taxi_trips(**arguments, return_state=True)
    assert "Validation of flow parameters failed" in (state.message or "")


def test_every_parameter_is_described() -> None:
    assert all(described["description"] for described in backfill_taxi_trips.parameters.properties.values())


def test_months_run_on_over_the_end_of_a_year() -> None:
    assert [str(month) for month in months_between("2019-11", "2020-02", "green")] == [
        *("green 2019-11", "green 2019-12", "green 2020-01", "green 2020-02")
    ]
