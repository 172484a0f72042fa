"""Draft a report, wait until a person has approved it, and only then publish it."""

from typing import Annotated, Any, cast

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field

from warehouse import WAREHOUSE_BLOCK, lock, open_warehouse

TABLE = "published_reports"
SECONDS_PER_MINUTE = 60
CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS published_reports (
    year         smallint PRIMARY KEY,
    report       text NOT NULL,
    comment      text NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
)
"""
DRAFT = """
SELECT colour, month, count(*), sum(total) FROM taxi_trips WHERE year = %s
GROUP BY colour, month ORDER BY colour, month
"""
UPSERT = """
INSERT INTO published_reports (year, report, comment) VALUES (%s, %s, %s)
ON CONFLICT (year) DO UPDATE SET report = excluded.report, comment = excluded.comment, published_at = now()
"""


class ReportError(RuntimeError):
    """There is nothing to report."""


class NotApprovedError(RuntimeError):
    """The report was refused, or nobody decided in time; it was not published."""


class Approval(RunInput):
    """The form for the person who resumes the run."""

    approve: bool = Field(default=False, description="Publish the report.")
    comment: str = Field(default="", description="Why, or why not.")


@flow(name="publish-after-approval", flow_run_name="report of {year}", log_prints=True)
def publish_after_approval(
    year: Annotated[int, Field(ge=2009, le=2100)] = 2020,
    minutes_to_decide: Annotated[int, Field(ge=1, le=43_200)] = 1_440,
    warehouse_block_name: str = WAREHOUSE_BLOCK,
) -> str:
    """Draft a report of the year's taxi trips in the warehouse, and publish it once a person has approved it.

    Approve or refuse on the run's page, with Resume. A deployment's run is suspended meanwhile, and takes no
    place on its worker; a run without a deployment keeps waiting.

    Args:
        year: The year to report on.
        minutes_to_decide: The minutes without a decision after which the run fails.
        warehouse_block_name: The Secret block that tells where the warehouse is.

    Returns:
        The report, in Markdown.

    Raises:
        ReportError: The warehouse has no trips of that year.
        NotApprovedError: The report was refused, or nobody decided in time.
    """
    report = draft_report(year, warehouse_block_name)
    decision = _ask(year, report, minutes_to_decide)
    comment = " ".join(decision.comment.split())
    if not decision.approve:
        raise NotApprovedError(f"The report of {year} was refused{f': {comment}' if comment else ''}.")
    publish_report(year, report, comment, warehouse_block_name)
    print(f"The report of {year} is published.")
    return report


def _ask(year: int, report: str, minutes: int) -> Approval:
    """Wait for a person's decision; a suspended run ends here, and starts again when it is resumed."""
    question = Approval.with_initial_data(description=f"Publish this?\n\n{report}")
    timeout = minutes * SECONDS_PER_MINUTE
    if deployment.id:
        return suspend_flow_run(wait_for_input=question, timeout=timeout)
    try:
        return pause_flow_run(wait_for_input=question, timeout=timeout, poll_interval=1)
    except FlowPauseTimeout:
        raise NotApprovedError(
            f"Nobody decided about the report of {year} within {minutes} minutes."
        ) from None


@task(name="draft-report", persist_result=True)
def draft_report(year: int, warehouse_block_name: str) -> str:
    """Return the report; a resumed run gets the approved one, whatever was loaded since."""
    with open_warehouse(warehouse_block_name) as warehouse, warehouse.cursor() as cursor:
        cursor.execute("SELECT to_regclass('taxi_trips')")
        rows: list[tuple[Any, ...]] = []
        if cast("tuple[Any]", cursor.fetchone())[0]:
            cursor.execute(DRAFT, (year,))
            rows = cursor.fetchall()
    if not rows:
        raise ReportError(
            f"The warehouse has no taxi trips of {year}; run load-taxi-trips for that year first."
        )
    lines = [f"| {colour} | {month} | {trips} | {total} |" for colour, month, trips, total in rows]
    return "\n".join(
        [f"# Taxi trips of {year}", "", "| colour | month | trips | dollars |", "|-|-|-|-|", *lines]
    )


@task(name="publish-report")
def publish_report(year: int, report: str, comment: str, warehouse_block_name: str) -> None:
    """Write the report into the warehouse's table published_reports, replacing an older one."""
    with open_warehouse(warehouse_block_name) as warehouse, warehouse.cursor() as cursor:
        lock(cursor, TABLE)
        cursor.execute(CREATE_TABLE)
        cursor.execute(UPSERT, (year, report, comment))
    create_markdown_artifact(report, key="taxi-report", description=f"Taxi trips of {year}")


if __name__ == "__main__":
    publish_after_approval()
