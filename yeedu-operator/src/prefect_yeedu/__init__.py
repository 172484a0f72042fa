"""Run Yeedu jobs and notebooks from Prefect 3."""

from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduCellFailed,
    YeeduConfigurationError,
    YeeduError,
    YeeduKernelDied,
    YeeduRunCancelled,
    YeeduRunFailed,
    YeeduRunTimedOut,
    YeeduTransportError,
    YeeduUnhealthy,
)
from prefect_yeedu.facade import YeeduOperator
from prefect_yeedu.models import CellResult, Generation, Output, RunState, YeeduResult

__all__ = [
    "CellResult",
    "Generation",
    "Output",
    "RunState",
    "YeeduAPIError",
    "YeeduAuthenticationError",
    "YeeduCellFailed",
    "YeeduConfigurationError",
    "YeeduError",
    "YeeduKernelDied",
    "YeeduOperator",
    "YeeduResult",
    "YeeduRunCancelled",
    "YeeduRunFailed",
    "YeeduRunTimedOut",
    "YeeduTransportError",
    "YeeduUnhealthy",
]
