"""Summarise many files of taxi trips at the same time, but never more of them at once than a limit allows."""

from decimal import Decimal
from typing import Annotated, Any, TypedDict

import requests
from prefect import flow, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.futures import wait
from prefect.tasks import Task, exponential_backoff
from pydantic import Field

from taxi_trips import COLUMNS, Colour, Month, clean_rows, fetch_file

LIMIT = "taxi-files"
TOTAL = COLUMNS.index("total")


class SummaryError(RuntimeError):
    """Some files could not be summarised; the message says which, and why."""


class Summary(TypedDict):
    """One file's trips."""

    month: str
    trips: int
    revenue: float


@flow(
    name="summarise-taxi-trips",
    flow_run_name="summary of {year}",
    log_prints=True,
)
def summarise_taxi_trips(
    year: Annotated[int, Field(ge=2009, le=2100)] = 2020,
    colours: Annotated[list[Colour], Field(min_length=1)] = ["green", "yellow"],  # noqa: B006
    at_once: Annotated[int, Field(ge=1, le=24)] = 3,
    source_url: str = "",
) -> list[Summary]:
    """Summarise a year's taxi trips, a task for each colour and month, a limited number of them at a time.

    The limit is the global concurrency limit "taxi-files", which all runs of this flow share: two runs at the
    same time do not work on more files than one. Every file is tried, whatever happens to the others.

    Args:
        year: The year.
        colours: The taxis' colours.
        at_once: How many files may be worked on at a time, by all runs together; the newest run's wins.
        source_url: Where the files are, with {colour}, {year} and {month:02}; made-up samples when empty.

    Returns:
        For each file its trips and what they cost in all, in dollars.

    Raises:
        SummaryError: Some files could not be summarised; the message says which, and why.
    """
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, at_once)
    months = [Month(colour, year, number) for colour in dict.fromkeys(colours) for number in range(1, 13)]
    futures = summarise_file.map(months, unmapped(source_url))
    wait(futures)
    states = dict(zip(map(str, months), (future.state for future in futures), strict=True))
    reasons = [
        f"{name}: {state.result(raise_on_failure=False)}"
        for name, state in states.items()
        if not state.is_completed()
    ]
    if reasons:
        raise SummaryError(f"{len(reasons)} of {len(months)} files were not summarised. {'; '.join(reasons)}")
    summaries = [state.result() for state in states.values()]
    create_table_artifact([dict(summary) for summary in summaries], key="taxi-summary", description=f"{year}")
    print(f"Summarised {sum(summary['trips'] for summary in summaries)} trips of {len(months)} files.")
    return summaries


def _is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), requests.RequestException)


@task(
    name="summarise-file",
    task_run_name="{of}",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_worth_another_try,
)
def summarise_file(of: Month, source_url: str) -> Summary:
    """Count a file's trips and add up what they cost, once there is a free place under the limit."""
    with concurrency(LIMIT, strict=True):
        totals = [Decimal(row[TOTAL]) for row in clean_rows(fetch_file(of, source_url), of)]
    return Summary(month=str(of), trips=len(totals), revenue=float(sum(totals)))


if __name__ == "__main__":
    summarise_taxi_trips()
