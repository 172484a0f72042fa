"""Triggers Celery's flows and waits for them, on request."""

import time
from datetime import UTC
from typing import Any

from celery.result import AsyncResult
from celery_tasks import FLOWS, app
from requests_by_line import answer_all

PAUSE_SECONDS = 0.02


def trigger(flow: str) -> str:
    """Send a flow's tasks, and return the id of the last of them."""
    return FLOWS[flow].apply_async().id


def wait(runs: list[str], seconds: float) -> dict[str, Any]:
    """Return each run's state and end time, once all have ended or the time is up."""
    deadline = time.monotonic() + seconds
    results = [AsyncResult(run, app=app) for run in runs]
    while time.monotonic() < deadline and not all(result.ready() for result in results):
        time.sleep(PAUSE_SECONDS)
    if not all(result.ready() for result in results):
        return {"ended": None}
    return {
        "states": [result.state for result in results],
        "ended": [result.date_done.replace(tzinfo=UTC).timestamp() for result in results],
    }


answer_all(trigger, wait)
