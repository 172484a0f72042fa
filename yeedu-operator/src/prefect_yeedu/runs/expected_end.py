"""When a run will probably end, going by how long the same job took before."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduError
from prefect_yeedu.urls import TargetKind

if TYPE_CHECKING:
    from prefect_yeedu.client.api import RunAPI

logger = logging.getLogger(__name__)

RUNS = 5
# Of a job that takes now this and now that, nothing is expected.
MAX_RATIO = 1.5
MARGIN_SHARE = 0.08
MAX_MARGIN_SECONDS = 300.0


def expected_end(api: RunAPI, run_id: int, running_since: float) -> tuple[float, float] | None:
    """Return between which two moments a job's run will probably end, or None where nothing is known.

    Args:
        api: Calls about jobs.
        run_id: The run.
        running_since: When it was first seen running, on the client's clock.
    """
    if api.client.url.kind is not TargetKind.JOB:
        return None  # the address of a run does not say which job it is of
    try:
        runs = api.list_runs(api.client.url.id, max_pages=1)
    except YeeduError as error:
        logger.debug("Earlier runs are not to be had: %s", error)
        return None
    own = next((run for run in runs if run.run_id == run_id), None)
    earlier = sorted((run for run in runs if run.state.is_success), key=lambda run: run.run_id)[-RUNS:]
    known = [seconds for run in earlier if (seconds := run.duration_seconds) is not None]
    if not known or max(known) > MAX_RATIO * min(known):
        return None
    # A run that another attempt started has been running for longer than it has been seen.
    started_at = min(running_since, api.client.clock.now() - ((own and own.duration_seconds) or 0.0))
    return started_at + min(known) - _margin(min(known)), started_at + max(known) + _margin(max(known))


def _margin(seconds: float) -> float:
    return min(MARGIN_SHARE * seconds, MAX_MARGIN_SECONDS)
