"""Keeps docket's worker running after a failure that would end it.

Docket retries if it cannot connect, but ends silently at any other unexpected answer from Redis. If Redis
lost its data, no service would run again until a restart.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from prefect.logging import get_logger

Worker = Callable[[Any], Coroutine[Any, Any, None]]
PAUSE_SECONDS = 1.0
# After this time, a killed worker's task is restarted. Docket's default is five minutes, in which the
# scheduler, if it were that task, would create no runs.
REDELIVERY = timedelta(seconds=30)
_logger: logging.Logger = get_logger("server.background")


def working_on(run_forever: Worker) -> Worker:
    """Return a version of `run_forever` that restarts after a failure, with the services' next rounds.

    Args:
        run_forever: Docket's own.
    """

    @functools.wraps(run_forever)
    async def run(self: Any) -> None:
        self.redelivery_timeout = min(self.redelivery_timeout, REDELIVERY)
        while True:
            try:
                return await run_forever(self)
            except Exception as error:  # noqa: BLE001 - from Redis or the library
                _logger.error("Background work failed; restarting it: %s", _reason(error))  # noqa: TRY400
            await asyncio.sleep(PAUSE_SECONDS)

    return run


def _reason(error: Exception) -> str:
    """Return what happened; for a group, its first exception."""
    first: Any = error
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return f"{type(first).__name__}: {first}"  # pyright: ignore[reportUnknownArgumentType]
