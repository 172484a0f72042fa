"""The flows whose calls `bench.calls` counts; it makes a repository of this file."""

from prefect import flow, task

from operators.yeedu import YeeduOperator

TASKS = 10


@flow
def empty() -> None:
    """Do nothing."""


@task
def square(number: int) -> int:
    """Do next to nothing."""
    return number * number


@flow
def ten_tasks() -> int:
    """Run ten tasks, one after another."""
    return sum(square(number) for number in range(TASKS))


@flow(log_prints=True)
def yeedu_job(job_url: str) -> str:
    """Run a Yeedu job, and log what it prints."""
    operator = YeeduOperator(
        job_url=job_url,
        connection_block_name="yeedu_connection_details",
        login_password_block_name="yeedu-password",  # noqa: S106 - a block's name
    )
    return operator.execute().state
