"""Ready-made tasks for a job and a notebook, each with its async twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from prefect import task

from prefect_yeedu.definition_blocks import make_call
from prefect_yeedu.flow_run.stopping import run_in_thread
from prefect_yeedu.models import RunKind, YeeduResult

if TYPE_CHECKING:
    from prefect_yeedu.credentials import YeeduCredentials
    from prefect_yeedu.options import OptionWords


@task(name="run-yeedu-job")
def run_yeedu_job(
    job: int | str,
    credentials: YeeduCredentials,
    *,
    workspace: int | None = None,
    **options: Unpack[OptionWords],
) -> YeeduResult:
    """Run a job on Yeedu and return its result.

    Args:
        job: The job's address, or its id or name in a workspace of the credentials' host.
        credentials: The Yeedu to call, and the login.
        workspace: The workspace's id; needed if the job is given by id or name.
        options: Options of the run; see `YeeduOptions`.

    Raises:
        YeeduError: The run did not succeed; the class says why, and the text what to do.
    """
    return make_call(RunKind.JOB, job, workspace, credentials, options).execute()


@task(name="run-yeedu-job")
async def arun_yeedu_job(
    job: int | str,
    credentials: YeeduCredentials,
    *,
    workspace: int | None = None,
    **options: Unpack[OptionWords],
) -> YeeduResult:
    """Do what `run_yeedu_job` does without blocking the event loop; cancelling it stops the run."""
    return await run_in_thread(make_call(RunKind.JOB, job, workspace, credentials, options).execute)


@task(name="run-yeedu-notebook")
def run_yeedu_notebook(
    notebook: int | str,
    credentials: YeeduCredentials,
    *,
    workspace: int | None = None,
    **options: Unpack[OptionWords],
) -> YeeduResult:
    """Run a notebook on Yeedu and return its result.

    Args:
        notebook: The notebook's address, or its id or name in a workspace of the credentials' host.
        credentials: The Yeedu to call, and the login.
        workspace: The workspace's id; needed if the notebook is given by id or name.
        options: Options of the run; see `YeeduOptions`.

    Raises:
        YeeduError: The run did not succeed; the class says why, and the text what to do.
    """
    return make_call(RunKind.NOTEBOOK, notebook, workspace, credentials, options).execute()


@task(name="run-yeedu-notebook")
async def arun_yeedu_notebook(
    notebook: int | str,
    credentials: YeeduCredentials,
    *,
    workspace: int | None = None,
    **options: Unpack[OptionWords],
) -> YeeduResult:
    """Do what `run_yeedu_notebook` does without blocking the event loop; cancelling it stops the run."""
    return await run_in_thread(make_call(RunKind.NOTEBOOK, notebook, workspace, credentials, options).execute)
