"""Load New York's taxi trips into the warehouse, month by month: download, keep the raw file, clean, copy."""

import hashlib
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import requests
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.tasks import Task, exponential_backoff
from pydantic import Field

from lake import open_lake, read_file, write_file
from taxi_trips import Colour, Month, SampleFormat, clean_rows, fetch_file
from warehouse import WAREHOUSE_BLOCK, WarehouseUnreachableError
from warehouses import Column, Kind, Table, find_warehouse

TABLE = Table(
    "taxi_trips",
    key=(
        Column("colour", Kind.TEXT),
        Column("year", Kind.SMALL_INTEGER),
        Column("month", Kind.SMALL_INTEGER),
    ),
    others=(
        Column("pickup_at", Kind.TIME),
        Column("dropoff_at", Kind.TIME),
        Column("passengers", Kind.SMALL_INTEGER),
        Column("distance_miles", Kind.AMOUNT),
        Column("pickup_zone", Kind.SMALL_INTEGER, is_required=False),
        Column("dropoff_zone", Kind.SMALL_INTEGER, is_required=False),
        Column("payment_type", Kind.SMALL_INTEGER, is_required=False),
        Column("fare", Kind.AMOUNT),
        Column("tip", Kind.AMOUNT, is_required=False),
        Column("tolls", Kind.AMOUNT, is_required=False),
        Column("total", Kind.AMOUNT),
    ),
)


class TaxiLoadError(RuntimeError):
    """A month could not be downloaded or loaded; the message says why."""


class RawFileGoneError(TaxiLoadError):
    """The lake has lost the file that was put there, or has a different one in its place."""


class RawFile(TypedDict):
    """A file in the lake."""

    path: str
    bytes: int
    sha256: str


class LoadedMonth(TypedDict):
    """What was loaded for one month."""

    month: str
    file: str
    rows: int


def _parent_name() -> str:
    given: dict[str, Any] = flow_run.parameters
    return f"{given['colour']} {given['year']}: months {', '.join(map(str, given['months']))}"


@flow(name="load-taxi-trips", flow_run_name=_parent_name, log_prints=True)
def load_taxi_trips(
    months: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1)] = [1, 2],  # noqa: B006
    year: Annotated[int, Field(ge=2009, le=2100)] = 2020,
    colour: Colour = "green",
    source_url: str = "",
    lake: str = "",
    warehouse: str = f"secret/{WAREHOUSE_BLOCK}",
    refresh: bool = False,
    sample_format: SampleFormat = "csv",
) -> list[LoadedMonth]:
    """Load New York's taxi trips into the warehouse's table taxi_trips, with a subflow for each month.

    Loading a month again replaces it. Every month is tried, whatever happens to the others.

    Args:
        months: The months to load, 1 to 12.
        year: Their year.
        colour: The taxis' colour.
        source_url: Where the files are, Parquet or CSV: an address with {colour}, {year} and {month:02}; if
            empty, made-up sample files are loaded, which needs no network.
        lake: The block of the file system that raw files are kept in, as type and name: s3-bucket/lake or
            gcs-bucket/lake; if empty, the folder "lake" on the worker.
        warehouse: The block that opens the warehouse, as type and name: secret/warehouse for Postgres,
            gcp-credentials/NAME/DATASET for BigQuery, sqlalchemy-connector/NAME for another database.
        refresh: Download again what was downloaded less than a day ago.
        sample_format: The format of made-up files; a downloaded file's is detected from its content.

    Returns:
        The file and the number of rows of each month.

    Raises:
        TaxiLoadError: Some months could not be loaded; the message says which, and why.
    """
    loaded: list[LoadedMonth] = []
    reasons: list[str] = []
    for number in dict.fromkeys(months):
        state: State[LoadedMonth] = load_month(
            number, year, colour, source_url, lake, warehouse, refresh, sample_format, return_state=True
        )
        if state.is_completed():
            loaded.append(state.result())
        else:
            reasons.append(f"{Month(colour, year, number)}: {state.result(raise_on_failure=False)}")
    if loaded:
        _show(loaded)
    if reasons:
        raise TaxiLoadError(
            f"{len(reasons)} of {len(reasons) + len(loaded)} months were not loaded. {'; '.join(reasons)}"
        )
    print(f"Loaded {sum(month['rows'] for month in loaded)} trips of {len(loaded)} months.")
    return loaded


# Not persisted: with no fixed order, a retried backfill would take one month's result for another's.
@flow(
    name="load-taxi-trips-of-a-month",
    flow_run_name="{colour} {year}-{month:02}",
    log_prints=True,
    persist_result=False,
)
def load_month(
    month: int,
    year: int,
    colour: Colour,
    source_url: str,
    lake: str,
    warehouse: str,
    refresh: bool,
    sample_format: SampleFormat,
) -> LoadedMonth:
    """Load one month's raw file into the lake and its rows into the warehouse; see `load_taxi_trips`."""
    of = Month(colour, year, month)
    raw = fetch_to_lake.with_options(refresh_cache=refresh)(of, source_url, lake, sample_format)
    try:
        rows = copy_to_warehouse(of, raw, lake, warehouse)
    except RawFileGoneError as error:  # after it was fetched, within the last day
        print(error)
        raw = fetch_to_lake.with_options(refresh_cache=True)(of, source_url, lake, sample_format)
        rows = copy_to_warehouse(of, raw, lake, warehouse)
    return LoadedMonth(month=str(of), file=raw["path"], rows=rows)


def _is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell whether a failure may be temporary: only those of the network or a server are."""
    trouble = state.result(raise_on_failure=False)
    return isinstance(trouble, requests.RequestException | WarehouseUnreachableError)


@task(
    name="fetch-to-lake",
    task_run_name="fetch {of}",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_worth_another_try,
    cache_policy=INPUTS + TASK_SOURCE,
    cache_expiration=timedelta(days=1),
    persist_result=True,
)
def fetch_to_lake(of: Month, source_url: str, lake: str, sample_format: SampleFormat) -> RawFile:
    """Put the month's raw file into the lake, unchanged; cached for a day for the same inputs.

    Raises:
        TaxiDataError: There is no such file, or `source_url` is not an address.
        RequestException: The server could not be reached, or answered with an error; the task retries after
            1, 2, 4 and 8 seconds or a little more.
    """
    content = fetch_file(of, source_url, sample_format)
    path = f"taxi_trips/{of.colour}/{of.file_name(content)}"
    write_file(open_lake(lake), path, content)
    print(f"{path}: {len(content)} bytes into the lake")
    return RawFile(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@task(
    name="copy-to-warehouse",
    task_run_name="copy {of}",
    retries=2,
    retry_delay_seconds=[1, 5],
    retry_condition_fn=_is_worth_another_try,
)
def copy_to_warehouse(of: Month, raw: RawFile, lake: str, warehouse: str) -> int:
    """Replace the month's rows in the warehouse by those of the raw file, all or none; return their number.

    Raises:
        RawFileGoneError: The lake's file is not the one that was fetched.
        TaxiDataError: The file does not hold what it should.
        WarehouseError: The warehouse cannot be used, or rows were lost on the way.
        MissingPackageError: The file or the warehouse needs a package that this worker lacks.
    """
    content = _read_raw(raw, lake)
    key = (of.colour, of.year, of.month)
    rows = ([*map(str, key), *fields] for fields in clean_rows(content, of))
    replaced = find_warehouse(warehouse).replace(TABLE, key, rows)
    get_run_logger().info("%s: %d rows in the warehouse, %d replaced", of, replaced.rows, replaced.before)
    return replaced.rows


def _read_raw(raw: RawFile, lake: str) -> bytes:
    files = open_lake(lake)
    try:
        content = read_file(files, raw["path"])
    except Exception as error:  # noqa: BLE001 - every kind of file system has its own errors
        raise RawFileGoneError(f"{raw['path']} is not in the lake any more: {error}") from None
    if hashlib.sha256(content).hexdigest() != raw["sha256"]:
        raise RawFileGoneError(f"{raw['path']} in the lake has changed since it was fetched.")
    return content


def _show(loaded: list[LoadedMonth]) -> None:
    create_table_artifact(
        key="taxi-trips",
        table=[dict(month) for month in loaded],
        description="Trips loaded into the warehouse",
    )


if __name__ == "__main__":
    load_taxi_trips()
