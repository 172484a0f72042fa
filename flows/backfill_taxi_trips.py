"""Load New York's taxi trips of many months, a limited number of them at a time, and account for each."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Annotated, Any, TypedDict

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from pydantic import Field

from load_taxi_trips import LoadedMonth, load_month
from run_flows_in_parallel import build_prefect_models
from taxi_trips import Colour, Month, SampleFormat
from warehouse import WAREHOUSE_BLOCK

YearMonth = Annotated[str, Field(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")]


class BackfillError(RuntimeError):
    """Some months were not loaded; the message says which, and why."""


class Outcome(TypedDict):
    """The outcome of a month: the number of rows loaded, or why there are none."""

    month: str
    rows: int | None
    reason: str


# log_prints, as in every flow with concurrent subflows: see run_flows_in_parallel.py.
@flow(name="backfill-taxi-trips", flow_run_name="{first} to {last}", log_prints=True)
def backfill_taxi_trips(
    first: YearMonth = "2020-01",
    last: YearMonth = "2020-12",
    colours: Annotated[list[Colour], Field(min_length=1)] = ["green", "yellow"],  # noqa: B006
    at_once: Annotated[int, Field(ge=1, le=8)] = 2,
    source_url: str = "",
    lake: str = "",
    warehouse: str = f"secret/{WAREHOUSE_BLOCK}",
    refresh: bool = False,
    sample_format: SampleFormat = "csv",
) -> list[Outcome]:
    """Load every month from the first to the last, of each colour, with a subflow for each.

    Loading a month again replaces it, so a backfill may be repeated, as a whole or from where it failed.
    Every month is tried, whatever happens to the others, and the table in Artifacts shows each one's outcome.

    Args:
        first: The first month, such as 2020-01.
        last: The last month.
        colours: The taxis' colours.
        at_once: How many months may be loaded at the same time, 1 to 8; each holds its file in memory.
        source_url: Where the files are, as for load-taxi-trips; made-up samples if empty.
        lake: The block of the file system that raw files are kept in, as type and name.
        warehouse: The block that opens the warehouse, as type and name.
        refresh: Download again what was downloaded less than a day ago.
        sample_format: The format of made-up files.

    Returns:
        The outcome of each month.

    Raises:
        BackfillError: There is no month from the first to the last, or some were not loaded.
    """
    months = [month for colour in dict.fromkeys(colours) for month in months_between(first, last, colour)]
    if not months:
        raise BackfillError(f"There is no month from {first} to {last}; first has to come before last.")
    print(f"{len(months)} months to load, {at_once} at a time.")
    options: dict[str, Any] = {
        "source_url": source_url,
        "lake": lake,
        "warehouse": warehouse,
        "refresh": refresh,
        "sample_format": sample_format,
    }
    outcomes = [_outcome(month, state) for month, state in _run_subflows(months, at_once, options)]
    create_table_artifact(
        key="taxi-backfill",
        table=[dict(outcome) for outcome in outcomes],
        description=f"Months from {first} to {last}",
    )
    failed = [outcome for outcome in outcomes if outcome["rows"] is None]
    if failed:
        reasons = "; ".join(f"{outcome['month']}: {outcome['reason']}" for outcome in failed)
        raise BackfillError(f"{len(failed)} of {len(outcomes)} months were not loaded. {reasons}")
    print(f"Loaded {sum(outcome['rows'] or 0 for outcome in outcomes)} trips of {len(outcomes)} months.")
    return outcomes


def months_between(first: str, last: str, colour: Colour) -> Iterator[Month]:
    """Yield the months from the first to the last, both included; none if the last comes first."""
    year, month = map(int, first.split("-"))
    while f"{year}-{month:02}" <= last:
        yield Month(colour, year, month)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _run_subflows(
    months: list[Month], at_once: int, options: dict[str, Any]
) -> Iterator[tuple[Month, State[LoadedMonth]]]:
    """Load each month in a thread with a copy of this run's context; yield states in the months' order."""
    build_prefect_models()
    with ThreadPoolExecutor(at_once) as executor:
        calls: list[Callable[[], State[LoadedMonth]]] = [
            partial(load_month, of.month, of.year, of.colour, **options, return_state=True)  # type: ignore[list-item]
            for of in months
        ]
        futures = [executor.submit(copy_context().run, call) for call in calls]
        try:
            for month, future in zip(months, futures, strict=True):
                yield month, future.result()
        except BaseException:  # a cancellation: loads under way end by themselves, or with the process
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _outcome(month: Month, state: State[LoadedMonth]) -> Outcome:
    if not state.is_completed():
        return Outcome(month=str(month), rows=None, reason=str(state.result(raise_on_failure=False)))
    loaded = state.result()
    if loaded["month"] != str(month):  # never trust a month that was not asked for
        return Outcome(month=str(month), rows=None, reason=f"{loaded['month']} was loaded in its place.")
    return Outcome(month=str(month), rows=loaded["rows"], reason="")


if __name__ == "__main__":
    backfill_taxi_trips()
