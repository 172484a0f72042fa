"""Triggers DBOS's flows and waits for them, on request."""

import os
import time
from typing import Any

from dbos import DBOSClient
from requests_by_line import answer_all

PAUSE_SECONDS = 0.05
NAME = "bench"
client = DBOSClient(system_database_url=os.environ["BENCH_DATABASE"], application_name=NAME)


def trigger(flow: str) -> str:
    """Enqueue a workflow, and return its id."""
    if flow == "tick":
        client.create_schedule(schedule_name=flow, workflow_name=flow, schedule="* * * * *")
        return flow
    return client.enqueue({"workflow_name": flow, "queue_name": NAME}).workflow_id


def wait(runs: list[str], seconds: float) -> dict[str, Any]:
    """Return each run's state and end time, once all have ended or the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = client.list_workflows(workflow_ids=runs, load_input=False, load_output=False)
        if len(found) == len(runs) and all(run.completed_at for run in found):
            return {
                "states": [run.status for run in found],
                "ended": [run.completed_at / 1000 for run in found],
            }
        if time.monotonic() > deadline:
            return {"ended": None}
        time.sleep(PAUSE_SECONDS)


answer_all(trigger, wait)
