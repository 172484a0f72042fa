"""Run a Yeedu job, then a notebook with its result, and load the output of both into the warehouse."""

import csv
import os
import shlex
import tempfile
from typing import Any, TypedDict, cast

from prefect import flow, task
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from operators.yeedu import YeeduOperator
from run_yeedu_job import SAMPLE_JOB_URL
from run_yeedu_notebook import SAMPLE_NOTEBOOK_URL
from warehouse import WAREHOUSE_BLOCK, copy_rows, lock, open_warehouse

TABLE = "yeedu_output"
COLUMNS = ("flow_run_id", "source", "yeedu_run_id", "position", "text")
CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS yeedu_output (
    flow_run_id  uuid NOT NULL,
    source       text NOT NULL,
    yeedu_run_id bigint NOT NULL,
    position     integer NOT NULL,
    text         text NOT NULL,
    loaded_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (flow_run_id, source, position)
)
"""


class PipelineError(RuntimeError):
    """The pipeline's parts do not fit together; the message says why."""


class StepResult(TypedDict):
    """The output of one Yeedu run.

    Attributes:
        source: `job` or `notebook`.
        yeedu_run_id: Yeedu's id of the run.
        lines: The lines of a job's standard output, or the text of each of a notebook's outputs.
    """

    source: str
    yeedu_run_id: int
    lines: list[str]


@flow(name="run-yeedu-pipeline", log_prints=True)
def run_yeedu_pipeline(
    job_url: str = os.environ.get("YEEDU_JOB_URL") or SAMPLE_JOB_URL,
    notebook_url: str = os.environ.get("YEEDU_NOTEBOOK_URL") or SAMPLE_NOTEBOOK_URL,
    connection_block_name: str = "yeedu_connection_details",
    login_password_block_name: str | None = "yeedu_password",  # noqa: S107 - the name of a block
    token_block_name: str | None = None,
    warehouse_block_name: str = WAREHOUSE_BLOCK,
) -> dict[str, Any]:
    """Run a Yeedu job, then a notebook with the job's result, and load their output into the warehouse.

    The notebook's arguments are the job's run and its last line: `--job-run 17 --job-result 'Done.'`. Every
    line goes into the table yeedu_output, under this flow run's id. A retried run resumes where it stopped.

    Args:
        job_url: The job's address, as in Yeedu's UI, with the port of Yeedu's REST API.
        notebook_url: The notebook's address, likewise.
        connection_block_name: The Secret block with the user name and the TLS settings, as JSON; for single
            sign-on (SSO) also with the name of the token's block, under the key token_block_name.
        login_password_block_name: The Secret block with the password, for LDAP and Azure AD; not used if
            there is a token.
        token_block_name: The Secret block with a token, for SSO; empty for the one that the connection
            details name, if any.
        warehouse_block_name: The Secret block that tells where the warehouse is.

    Returns:
        Yeedu's ids of both runs, and the number of lines in the warehouse.

    Raises:
        YeeduError: The job or the notebook failed, or Yeedu cannot be reached; the message says why.
        WarehouseError: The warehouse cannot be used.
    """
    blocks = (connection_block_name, login_password_block_name, token_block_name)
    job = run_step("job", job_url, None, *blocks)
    notebook = run_step("notebook", notebook_url, notebook_arguments(job), *blocks)
    loaded = load_output(str(flow_run.id), [job, notebook], warehouse_block_name)
    print(f"Loaded {loaded} lines of Yeedu's runs {job['yeedu_run_id']} and {notebook['yeedu_run_id']}.")
    return {"job_run": job["yeedu_run_id"], "notebook_run": notebook["yeedu_run_id"], "lines": loaded}


def notebook_arguments(job: StepResult) -> str:
    """Return the notebook's arguments: the job's run, and its last line as one shell word."""
    last = next((line.strip() for line in reversed(job["lines"]) if line.strip()), "")
    return f"--job-run {job['yeedu_run_id']} --job-result {shlex.quote(last)}"


# Persisted, so that a run that is retried after an outage of the warehouse does not run the job again.
@task(name="run-step", task_run_name="yeedu {source}", persist_result=True)
def run_step(
    source: str,
    url: str,
    arguments: str | None,
    connection_block_name: str,
    login_password_block_name: str | None,
    token_block_name: str | None,
) -> StepResult:
    """Run a job or notebook to its end, and log its output."""
    operator = YeeduOperator(
        job_url=url,
        connection_block_name=connection_block_name,
        login_password_block_name=login_password_block_name,
        token_block_name=token_block_name,
        arguments=arguments,
    )
    result = operator.execute()
    if result.kind != source or result.run_id is None:
        raise PipelineError(f"{url} is the address of a {result.kind}; the pipeline needs a {source} here.")
    texts = result.stdout.splitlines() if source == "job" else [output.text for output in result.outputs]
    return StepResult(
        source=source, yeedu_run_id=result.run_id, lines=[text for text in texts if text.strip()]
    )


@task(name="load-output", retries=2, retry_delay_seconds=[1, 5])
def load_output(flow_run_id: str, steps: list[StepResult], warehouse_block_name: str) -> int:
    """Replace this flow run's lines in the warehouse, all or none, and return their number."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as rows:
        writer = csv.writer(rows, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for step in steps:
            for position, text in enumerate(step["lines"], 1):
                clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # Postgres cannot store NUL
                writer.writerow([flow_run_id, step["source"], step["yeedu_run_id"], position, clean])
        rows.seek(0)
        with open_warehouse(warehouse_block_name) as warehouse, warehouse.cursor() as cursor:
            lock(cursor, TABLE)
            cursor.execute(CREATE_TABLE)
            cursor.execute("DELETE FROM yeedu_output WHERE flow_run_id = %s", (flow_run_id,))
            copy_rows(cursor, TABLE, COLUMNS, rows)
            cursor.execute("SELECT count(*) FROM yeedu_output WHERE flow_run_id = %s", (flow_run_id,))
            counted = cast("tuple[int]", cursor.fetchone())[0]
            expected = sum(len(step["lines"]) for step in steps)
            if counted != expected:
                raise PipelineError(
                    f"{counted} of {expected} lines would be in the warehouse; nothing was changed."
                )
    get_run_logger().info("%d lines in the warehouse", counted)
    return counted


if __name__ == "__main__":
    run_yeedu_pipeline()
