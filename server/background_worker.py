"""Keeps docket's worker running after a failure that would end it.

It tries again when no connection is made, and ends without a word at any other answer of Redis that it does
not expect. Where Redis had lost what it held, no service had a round any more until a restart.
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
# A task of a worker that was killed is begun anew after this time, by docket's default after five minutes, in
# which the scheduler, were it that task, would make no run.
REDELIVERY = timedelta(seconds=30)
_logger: logging.Logger = get_logger("server.background")


def working_on(run_forever: Worker) -> Worker:
    """Return a way to run a worker that begins again, with the services' next rounds, when it has failed.

    Args:
        run_forever: Docket's own.
    """

    @functools.wraps(run_forever)
    async def run(self: Any) -> None:
        self.redelivery_timeout = min(self.redelivery_timeout, REDELIVERY)
        while True:
            try:
                return await run_forever(self)
            except Exception as error:  # noqa: BLE001 - of Redis, or of the library
                _logger.error("Background work failed; restarting it: %s", _reason(error))  # noqa: TRY400
            await asyncio.sleep(PAUSE_SECONDS)

    return run


def _reason(error: Exception) -> str:
    """Return what happened, of a group what happened first."""
    first: Any = error
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return f"{type(first).__name__}: {first}"  # pyright: ignore[reportUnknownArgumentType]
