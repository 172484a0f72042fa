"""Run Yeedu jobs and notebooks from Prefect 3."""

from importlib.metadata import version

from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.credentials import YeeduCredentials
from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduCellFailed,
    YeeduConfigurationError,
    YeeduConflict,
    YeeduError,
    YeeduKernelDied,
    YeeduKernelError,
    YeeduNotFound,
    YeeduPrefectError,
    YeeduPrefectUnavailable,
    YeeduRateLimited,
    YeeduRunCancelled,
    YeeduRunError,
    YeeduRunFailed,
    YeeduRunLost,
    YeeduRunTimedOut,
    YeeduServerError,
    YeeduStopRequested,
    YeeduSubmissionUnknown,
    YeeduTransportError,
    YeeduUnexpectedAnswer,
    YeeduUnhealthy,
)
from prefect_yeedu.job_blocks import YeeduJob, YeeduNotebook
from prefect_yeedu.job_runs import YeeduJobRun
from prefect_yeedu.models import CellResult, Generation, Output, RunState, YeeduResult
from prefect_yeedu.options import YeeduOptions, YeeduSettings
from prefect_yeedu.task_retries import retry_if_transient
from prefect_yeedu.tasks import arun_yeedu_job, arun_yeedu_notebook, run_yeedu_job, run_yeedu_notebook
from prefect_yeedu.yeedu_operator import YeeduOperator

YeeduRun = YeeduJobRun

__version__ = version("prefect-yeedu")

__all__ = [
    "CellResult",
    "Generation",
    "Output",
    "RunState",
    "YeeduAPIError",
    "YeeduAuthenticationError",
    "YeeduCellFailed",
    "YeeduClient",
    "YeeduConfigurationError",
    "YeeduConflict",
    "YeeduCredentials",
    "YeeduError",
    "YeeduJob",
    "YeeduJobRun",
    "YeeduKernelDied",
    "YeeduKernelError",
    "YeeduNotFound",
    "YeeduNotebook",
    "YeeduOperator",
    "YeeduOptions",
    "YeeduPrefectError",
    "YeeduPrefectUnavailable",
    "YeeduRateLimited",
    "YeeduResult",
    "YeeduRun",
    "YeeduRunCancelled",
    "YeeduRunError",
    "YeeduRunFailed",
    "YeeduRunLost",
    "YeeduRunTimedOut",
    "YeeduServerError",
    "YeeduSettings",
    "YeeduStopRequested",
    "YeeduSubmissionUnknown",
    "YeeduTransportError",
    "YeeduUnexpectedAnswer",
    "YeeduUnhealthy",
    "__version__",
    "arun_yeedu_job",
    "arun_yeedu_notebook",
    "retry_if_transient",
    "run_yeedu_job",
    "run_yeedu_notebook",
]
