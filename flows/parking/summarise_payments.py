"""Summarise a day's parking payments by zone: a project in its own folder, with its modules in scripts/."""

from datetime import date
from typing import Annotated, Any, TypedDict

import requests
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff
from pydantic import Field

from scripts.payments import Day, PaymentsError, add_up, fetch

SAMPLE_DAY = date(2026, 3, 31)


class ZoneRow(TypedDict):
    """A zone's row of the table; the amount is in the currency of the file."""

    zone: str
    payments: int
    hours: float
    amount: float


@flow(name="summarise-payments", flow_run_name="parking of {day}", log_prints=True)
def summarise_payments(
    day: date = SAMPLE_DAY,
    source_url: str = "",
    most_rejected_percent: Annotated[float, Field(ge=0, le=100)] = 5,
) -> list[ZoneRow]:
    """Check a day's parking payments, add them up by zone, and show them as a table.

    Args:
        day: The day.
        source_url: The address of the CSV files, with {day} for the date; made-up samples if empty.
        most_rejected_percent: The share of rows that may be wrong before the day is refused.

    Returns:
        For each zone, its payments, the hours that were paid for, and the amount.

    Raises:
        PaymentsError: The file cannot be fetched or used, or too much of it is wrong; the message says which.
    """
    found = check_and_add_up(download(day, source_url), day)
    wrong = ", ".join(f"{count} {reason}" for reason, count in found.rejected.most_common())
    if found.rejected.total() * 100 > most_rejected_percent * found.rows:
        raise PaymentsError(f"Of {found.rows} payments of {day}, too many are wrong: {wrong}.")
    rows = [
        ZoneRow(
            zone=zone,
            payments=total.payments,
            hours=round(total.minutes / 60, 2),
            amount=float(round(total.amount, 2)),
        )
        for zone, total in found.zones.items()
    ]
    left_out = f"; left out: {wrong}" if wrong else ""
    create_table_artifact(
        key="parking-payments",
        table=[dict(row) for row in rows],
        description=f"Parking payments of {day}{left_out}",
    )
    print(f"{found.rows - found.rejected.total()} payments in {len(rows)} zones on {day}{left_out}")
    return rows


def _is_worth_another_try(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), requests.RequestException)


@task(
    name="download-payments",
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_worth_another_try,
)
def download(day: date, source_url: str) -> str:
    """Fetch the day's file, with retries while the server has trouble; see `scripts.payments.fetch`."""
    return fetch(day, source_url)


@task(name="check-and-add-up-payments")
def check_and_add_up(text: str, day: date) -> Day:
    """Check every row and add up those that count; see `scripts.payments.add_up`."""
    return add_up(text, day)


if __name__ == "__main__":
    summarise_payments()
