"""A retry condition for Prefect tasks: retry only if it may help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect_yeedu.errors import YeeduError, YeeduSubmissionUnknown
from prefect_yeedu.failures import Failure, classify

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task


async def retry_if_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Tell Prefect to retry a task that failed because Yeedu could not be reached or was in trouble.

    Jobs and notebooks that failed by themselves, refusals and wrong settings are not retried, because the
    same call would fail again. After a submission whose outcome is unknown, the next attempt first looks for
    its run, and submits again only if there certainly is none.

    Args:
        task: The task.
        run: Its run.
        state: The state that the run failed in.

    Example:
        ```python
        from prefect import task
        from prefect_yeedu import YeeduOperator, retry_if_transient

        @task(retries=3, retry_delay_seconds=60, retry_condition_fn=retry_if_transient)
        def nightly(job_url: str) -> str:
            return YeeduOperator(job_url, "yeedu_connection_details", "yeedu_password").execute().state
        ```
    """
    error = await state.aresult(raise_on_failure=False)
    if isinstance(error, YeeduSubmissionUnknown):
        return True
    return isinstance(error, YeeduError) and classify(error) is Failure.TRANSIENT
