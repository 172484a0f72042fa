"""A flow run that is suspended from outside stops, also when that was before it began to look."""

from pathlib import Path
from typing import Any

import pytest
from own_process import run_python
from prefect_processes import PrefectServer

RUN = """
import asyncio, json, sys, threading, time
from uuid import UUID
from prefect import flow, get_client, task
from prefect._internal import observers
from prefect.exceptions import Pause
from prefect.flow_engine import load_flow_run, run_flow
from prefect.states import Running, Suspended
from yeedu_worker.patches import suspensions

when, run = sys.argv[1], UUID(sys.argv[2])
if when != "as Prefect does":
    assert suspensions.observe_suspensions_later()
    suspensions.FIRST_SECONDS = 60.0 if when == "never" else 1.0
done, observers_made = [], []
stock = observers.FlowRunSuspendingObserver.__init__
observers.FlowRunSuspendingObserver.__init__ = lambda *given, **named: (
    observers_made.append(time.monotonic()), stock(*given, **named))[-1]

def suspend(*states):
    with get_client(sync_client=True) as client:
        for state in states:
            client.set_flow_run_state(run, state, force=True)

@task
def step(number):
    done.append(number)
    time.sleep(0.1)

@flow
def steps():
    if when == "and resumed before":
        suspend(Suspended(), Running())
    elif when == "before":
        suspend(Suspended())
    for number in range(200):
        if when == "later" and number == 20:
            suspend(Suspended())
        step(number)
        if when in ("never", "as Prefect does"):
            break

try:
    run_flow(steps, flow_run=load_flow_run(run))
    ended = "completed"
except Pause:
    ended = "paused"
print(json.dumps([ended, len(done), len(observers_made)]))
"""


@pytest.fixture(scope="module")
def deployment(server: PrefectServer) -> str:
    flow = server.api.post("flows/", {"name": "steps"})["id"]
    return server.api.post("deployments/", {"name": "suspended", "flow_id": flow})["id"]


def run(server: PrefectServer, deployment: str, when: str, home: Path) -> list[Any]:
    """Run the flow; return how it ended, after how many steps, and how many observers there were."""
    one = server.api.post(f"deployments/{deployment}/create_flow_run", {"state": {"type": "PENDING"}})["id"]
    return run_python(RUN, home, when, one, PREFECT_API_URL=server.url)


@pytest.mark.parametrize("when", ["before", "and resumed before", "later"])
def test_suspended_flow_run_stops(server: PrefectServer, deployment: str, when: str, tmp_path: Path) -> None:
    ended, steps, _ = run(server, deployment, when, tmp_path)
    assert (ended, steps < 200) == ("paused", True)


def test_short_flow_run_has_no_observer_where_prefects_has_one(
    server: PrefectServer, deployment: str, tmp_path: Path
) -> None:
    assert run(server, deployment, "as Prefect does", tmp_path) == ["completed", 1, 1]
    assert run(server, deployment, "never", tmp_path) == ["completed", 1, 0]
