"""Summarise many files of taxi trips at the same time, within a concurrency limit."""

from decimal import Decimal
from typing import Annotated, Any, TypedDict

import requests
from prefect import flow, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.tasks import Task, exponential_backoff
from pydantic import Field

from fan_out import RunsOn, batches, map_over, open_task_runner, outcome
from taxi_trips import COLUMNS, Colour, Month, TaxiDataError, clean_rows, fetch_file

LIMIT = "taxi-files"
TOTAL = COLUMNS.index("total")


class SummaryError(RuntimeError):
    """Some files could not be summarised; the message says which, and why."""


class Summary(TypedDict):
    """The totals of one file."""

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
    runs_on: RunsOn = "threads",
    files_per_task: Annotated[int, Field(ge=1, le=24)] = 1,
) -> list[Summary]:
    """Summarise a year's taxi trips, a task for each colour and month, a limited number of them at a time.

    The limit is the global concurrency limit "taxi-files", shared by all runs of this flow: two runs at the
    same time work on no more files than one. Every file is tried, whatever happens to the others.

    Args:
        year: The year.
        colours: The taxis' colours.
        at_once: How many files all runs together may work on at a time; the newest run's value applies.
        source_url: The files' address, with {colour}, {year} and {month:02}; made-up samples if empty.
        runs_on: Where the tasks run: in threads of this run's process, or on the platform's Dask workers.
        files_per_task: How many files a task summarises, one after another.

    Returns:
        For each file, its number of trips and their total cost, in dollars.

    Raises:
        SummaryError: Some files could not be summarised; the message says which, and why.
        FanOutError: There is no Dask to run them on; the message says what to switch on.
    """
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, at_once)
    months = [Month(colour, year, number) for colour in dict.fromkeys(colours) for number in range(1, 13)]
    found: list[Summary | BaseException] = []
    with open_task_runner(runs_on, at_once) as runner:
        if files_per_task == 1:
            files = map_over(runner, summarise_file, of=months, source_url=unmapped(source_url))
            found = [outcome(file) for file in files]
        else:
            parts = list(batches(months, files_per_task))
            tasks = map_over(runner, summarise_files, batch=parts, source_url=unmapped(source_url))
            for part, task_of_it in zip(parts, tasks, strict=True):
                of_part = outcome(task_of_it)
                found += [of_part] * len(part) if isinstance(of_part, BaseException) else of_part
    summaries = [summary for summary in found if not isinstance(summary, BaseException)]
    reasons = [
        f"{month}: {trouble}"
        for month, trouble in zip(months, found, strict=True)
        if isinstance(trouble, BaseException)
    ]
    if reasons:
        raise SummaryError(f"{len(reasons)} of {len(months)} files were not summarised. {'; '.join(reasons)}")
    create_table_artifact([dict(summary) for summary in summaries], key="taxi-summary", description=f"{year}")
    print(f"Summarised {sum(summary['trips'] for summary in summaries)} trips of {len(months)} files.")
    return summaries


# State in quotes: State[Any] is a class created on use, which cannot be sent to a Dask worker.
def _is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: "State[Any]") -> bool:
    return isinstance(state.result(raise_on_failure=False), requests.RequestException)


RETRIES: dict[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(backoff_factor=1),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _is_worth_another_try,
}


@task(name="summarise-file", task_run_name="{of}", **RETRIES)
def summarise_file(of: Month, source_url: str) -> Summary:
    """Summarise one file."""
    return _summarise(of, source_url)


@task(name="summarise-files", task_run_name="{batch[0]} and the next", **RETRIES)
def summarise_files(batch: list[Month], source_url: str) -> list[Summary | TaxiDataError]:
    """Summarise files one after another; one that is not a file of trips does not stop the others.

    Retries are per task: if a server has trouble, all files of the task are summarised again.
    """
    found: list[Summary | TaxiDataError] = []
    for of in batch:
        try:
            found.append(_summarise(of, source_url))
        except TaxiDataError as error:
            found.append(error)
    return found


def _summarise(of: Month, source_url: str) -> Summary:
    """Count a file's trips and add up their cost, once the limit has a free slot."""
    with concurrency(LIMIT, strict=True):
        totals = [Decimal(row[TOTAL]) for row in clean_rows(fetch_file(of, source_url), of)]
    return Summary(month=str(of), trips=len(totals), revenue=float(sum(totals)))


if __name__ == "__main__":
    summarise_taxi_trips()
