"""Run Yeedu jobs and notebooks from Prefect 3."""

from prefect_yeedu.credentials import YeeduCredentials
from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduCellFailed,
    YeeduConfigurationError,
    YeeduError,
    YeeduKernelDied,
    YeeduPrefectError,
    YeeduPrefectUnavailable,
    YeeduRunCancelled,
    YeeduRunFailed,
    YeeduRunTimedOut,
    YeeduTransportError,
    YeeduUnhealthy,
)
from prefect_yeedu.facade import YeeduOperator
from prefect_yeedu.job_blocks import YeeduJob, YeeduNotebook, YeeduRun
from prefect_yeedu.models import CellResult, Generation, Output, RunState, YeeduResult
from prefect_yeedu.tasks import run_yeedu_job, run_yeedu_notebook

__all__ = [
    "CellResult",
    "Generation",
    "Output",
    "RunState",
    "YeeduAPIError",
    "YeeduAuthenticationError",
    "YeeduCellFailed",
    "YeeduConfigurationError",
    "YeeduCredentials",
    "YeeduError",
    "YeeduJob",
    "YeeduKernelDied",
    "YeeduNotebook",
    "YeeduOperator",
    "YeeduPrefectError",
    "YeeduPrefectUnavailable",
    "YeeduResult",
    "YeeduRun",
    "YeeduRunCancelled",
    "YeeduRunFailed",
    "YeeduRunTimedOut",
    "YeeduTransportError",
    "YeeduUnhealthy",
    "run_yeedu_job",
    "run_yeedu_notebook",
]
