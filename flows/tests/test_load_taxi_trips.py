"""The flow load-taxi-trips, with a real warehouse, and a real server for the files."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.filesystems import LocalFileSystem

from lake import open_lake, read_file
from load_taxi_trips import copy_to_warehouse, fetch_to_lake, load_taxi_trips
from taxi_trips import SAMPLE_ROWS, Month, TaxiDataError, clean_rows, make_sample

Query = Callable[..., list[tuple[Any, ...]]]
ReadLog = Callable[..., list[str]]
COUNTS = "SELECT month, count(*) FROM taxi_trips GROUP BY month ORDER BY month"


@pytest.fixture
def lake(prefect_server: str, tmp_path: Path) -> str:
    """A lake of the test's own, so that no other test's cached files are in it."""
    name = f"lake-{tmp_path.name.replace('_', '-').lower()[-60:]}"
    LocalFileSystem(basepath=str(tmp_path / "lake")).save(name, overwrite=True)
    return f"local-file-system/{name}"


@pytest.fixture
def files(file_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(fetch_to_lake, "retry_delay_seconds", [0.01] * 4)
    return file_server


def test_samples_of_two_months_are_in_the_warehouse_and_their_files_in_the_lake(
    query: Query, lake: str, read_log: ReadLog
) -> None:
    state = load_taxi_trips([1, 2], lake=lake, return_state=True)
    assert state.is_completed(), state.message
    january, february = state.result()
    assert query(COUNTS) == [(1, january["rows"]), (2, february["rows"])]
    assert SAMPLE_ROWS * 0.9 < january["rows"] < SAMPLE_ROWS
    assert read_file(open_lake(lake), january["file"]) == make_sample(Month("green", 2020, 1))
    assert query(
        "SELECT min(pickup_at)::date::text, max(pickup_at)::date::text, min(passengers) FROM taxi_trips"
    ) == [("2020-01-01", "2020-02-28", 1)]
    assert f"Loaded {january['rows'] + february['rows']} trips of 2 months." in read_log(state)


def test_each_month_is_a_subflow_named_after_it_and_the_rows_are_an_artifact(query: Query, lake: str) -> None:
    state = load_taxi_trips([3], 2021, "yellow", lake=lake, return_state=True)
    run_id = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        children = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [run_id]}})
        )
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter.model_validate({"flow_run_id": {"any_": [run_id]}})
        )
    assert [child.name for child in children] == ["yellow 2021-03"]
    (artifact,) = artifacts
    assert artifact.type == "table"
    assert '"yellow 2021-03"' in str(artifact.data)


def test_loading_a_month_again_replaces_it_and_leaves_the_others(query: Query, lake: str) -> None:
    load_taxi_trips([1, 2], lake=lake)
    before = query("SELECT * FROM taxi_trips ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9")
    load_taxi_trips([2, 2], lake=lake)
    assert query("SELECT * FROM taxi_trips ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9") == before


def test_a_file_that_breaks_in_the_middle_changes_nothing(query: Query, lake: str, files: Any) -> None:
    load_taxi_trips([1], lake=lake)
    before = query(COUNTS)
    good = gzip.decompress(make_sample(Month("green", 2020, 1))).decode()
    files.body = (good + "2,2020-01-05 10:00:00,2020-01-05 11:00:00,many,1.0,1,1,1,1,1,1,1,1\n").encode()
    state = load_taxi_trips([1], lake=lake, source_url=files.template, return_state=True)
    assert state.is_failed()
    assert 'invalid input syntax for type smallint: "many"' in (state.message or "")
    assert query(COUNTS) == before


def test_a_download_is_tried_again_after_a_servers_trouble(query: Query, lake: str, files: Any) -> None:
    files.body = make_sample(Month("green", 2020, 1))
    files.statuses = [503, 429, 500]
    assert load_taxi_trips([1], lake=lake, source_url=files.template)
    assert files.asked == ["/green_2020-01.csv.gz"] * 4


def test_waits_between_tries_grow() -> None:
    assert fetch_to_lake.retry_delay_seconds == [1, 2, 4, 8]
    assert fetch_to_lake.retry_jitter_factor


def test_a_missing_file_is_one_sentence_without_another_try(query: Query, lake: str, files: Any) -> None:
    files.statuses = [404]
    state = load_taxi_trips([1], lake=lake, source_url=files.template, return_state=True)
    assert state.is_failed()
    address = files.template.format(colour="green", year=2020, month=1)
    assert f"The server answers 404 Not Found for {address}." in (state.message or "")
    assert len(files.asked) == 1


def test_same_inputs_are_not_downloaded_twice_unless_refreshed(query: Query, lake: str, files: Any) -> None:
    files.body = make_sample(Month("green", 2020, 1))
    for _ in range(2):
        load_taxi_trips([1], lake=lake, source_url=files.template)
    assert len(files.asked) == 1
    load_taxi_trips([1], lake=lake, source_url=files.template, refresh=True)
    assert len(files.asked) == 2


def test_a_cached_file_that_is_gone_from_the_lake_is_downloaded_again(
    query: Query, lake: str, files: Any, tmp_path: Path
) -> None:
    files.body = make_sample(Month("green", 2020, 1))
    (first,) = load_taxi_trips([1], lake=lake, source_url=files.template)
    (tmp_path / "lake" / first["file"]).unlink()
    (second,) = load_taxi_trips([1], lake=lake, source_url=files.template)
    assert second == first
    assert len(files.asked) == 2


def test_one_month_that_fails_does_not_stop_the_others(query: Query, lake: str, files: Any) -> None:
    files.body = make_sample(Month("green", 2020, 2))
    files.statuses = [404]
    state = load_taxi_trips([1, 2], lake=lake, source_url=files.template, return_state=True)
    assert state.is_failed()
    assert (state.message or "").count("1 of 2 months were not loaded. green 2020-01: ") == 1
    assert [month for month, _ in query(COUNTS)] == [2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"source_url": "ftp://x/{month}"}, "source_url is 'ftp://x/{month}'; give an http address"),
        ({"source_url": "http://x/{moon}"}, "source_url is 'http://x/{moon}'; give an http address"),
        ({"lake": "lake"}, "'lake' names no block; give its type and name"),
        ({"lake": "secret/warehouse"}, "'secret/warehouse' is no file system"),
        ({"lake": "no-such/lake"}, "The block 'no-such/lake' cannot be loaded"),
        ({"warehouse": "secret/nowhere"}, "There is no Secret block 'nowhere'"),
        (
            {"warehouse": "secret/not_a_warehouse"},
            "'not-a-warehouse' does not tell where the warehouse is",
        ),
        ({"warehouse": "secret/off"}, "The warehouse at 127.0.0.1:1/warehouse cannot be opened"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    query: Query, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], sentence: str
) -> None:
    monkeypatch.setattr(copy_to_warehouse, "retry_delay_seconds", [0.01])
    Secret.model_validate({"value": "secret-value"}).save("not-a-warehouse", overwrite=True)
    off = {"url": "postgresql://me@127.0.0.1:1/warehouse", "password": "planted-password"}
    Secret.model_validate({"value": off}).save("off", overwrite=True)
    state = load_taxi_trips([1], **arguments, return_state=True)  # type: ignore[arg-type]
    assert state.is_failed()
    message = state.message or ""
    assert sentence in message
    assert "secret-value" not in message
    assert "planted-password" not in message
    assert "\n" not in message


@pytest.mark.parametrize("arguments", [{"months": []}, {"months": [13]}, {"colour": "blue"}, {"year": 1999}])
def test_parameters_that_make_no_sense_are_refused(prefect_server: str, arguments: dict[str, Any]) -> None:
    state = load_taxi_trips(**arguments, return_state=True)
    assert state.is_failed()
    assert "Validation of flow parameters failed" in (state.message or "")


def test_every_parameter_is_described() -> None:
    properties = load_taxi_trips.parameters.properties
    assert properties.keys() >= {"months", "year", "colour", "source_url", "lake", "refresh"}
    assert all(described["description"] for described in properties.values())
    assert properties["months"]["default"] == [1, 2]
    assert properties["colour"]["enum"] == ["green", "yellow"]


def test_a_sample_is_the_same_on_every_machine() -> None:
    text = gzip.decompress(make_sample(Month("yellow", 2019, 12)))
    assert hashlib.sha256(text).hexdigest()[:16] == "7e0bd6eda7efe200"


def test_rows_of_other_months_without_passengers_or_ending_early_are_left_out() -> None:
    header = (
        "lpep_pickup_datetime,lpep_dropoff_datetime,passenger_count,trip_distance,PULocationID,DOLocationID,"
        "payment_type,fare_amount,tip_amount,tolls_amount,total_amount\n"
    )
    rest = "1.5,1,2,,5.00,0.00,0.00,5.00\n"
    rows = [
        "2020-01-31 23:50:00,2020-02-01 00:10:00,1.0," + rest,
        "2020-02-01 00:00:00,2020-02-01 00:10:00,1," + rest,
        "2020-01-01 00:00:00,2019-12-31 00:10:00,1," + rest,
        "2020-01-01 00:00:00,2020-01-01 00:10:00,0," + rest,
        "2020-01-01 00:00:00,2020-01-01 00:10:00,," + rest,
    ]
    kept = list(clean_rows((header + "".join(rows)).encode(), Month("green", 2020, 1)))
    assert kept == [
        [
            "2020-01-31 23:50:00",
            "2020-02-01 00:10:00",
            "1",
            "1.5",
            "1",
            "2",
            "",
            "5.00",
            "0.00",
            "0.00",
            "5.00",
        ]
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<html>not found</html>", "it has no column DOLocationID"),
        (b"", "it has no column"),
        (b"\x1f\x8bnot gzip after all", "green_tripdata_2020-01.csv.gz cannot be read"),
        (make_sample(Month("green", 2020, 1))[:200], "cannot be read: Compressed file ended"),
        (make_sample(Month("yellow", 2020, 1)), "no file of green taxi trips: it has no column lpep_"),
    ],
)
def test_a_file_of_something_else_is_named(content: bytes, sentence: str) -> None:
    with pytest.raises(TaxiDataError) as caught:
        list(clean_rows(content, Month("green", 2020, 1)))
    assert sentence in str(caught.value)
