"""Tasks that run in processes of their own, which import this module to find them."""

from pathlib import Path

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner

from operators.yeedu import YeeduOperator


def run_job(url: str) -> int | None:
    return YeeduOperator(url, "yeedu_connection_details", "yeedu_password").execute().run_id


@task
def run_once(url: str) -> int | None:
    return run_job(url)


@task(retries=1)
def run_and_fail_once(url: str, failed: Path) -> int | None:
    run_id = run_job(url)
    if not failed.exists():
        failed.touch()
        raise ValueError("a later step of the task failed")
    return run_id


@flow
def load(url: str) -> int | None:
    return run_job(url)


@task
def run_in_subflow(url: str) -> int | None:
    return load(url)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))  # pyright: ignore[reportArgumentType]
def equal_calls(url: str, failed: Path) -> list[int | None]:
    """Return the runs of equal calls, each in a task: in two equal ones, in one tried twice, in subflows."""
    return [
        run_once.submit(url).result(),
        run_once.submit(url).result(),
        run_and_fail_once.submit(url, failed).result(),
        run_in_subflow.submit(url).result(),
        run_in_subflow.submit(url).result(),
    ]
