"""Flow runs with tasks, in a process of their own, at a server of several processes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.platforms import wait_for
from tests.scaled_server import ScaledServer, environment

# Three flow runs at a time, each with ten tasks.
_CLIENT = """
from concurrent.futures import ThreadPoolExecutor
from prefect import flow, task

@task
def step(number):
    return number

@flow
def flown():
    return sum(future.result() for future in step.map(range(10)))

with ThreadPoolExecutor(3) as runs:
    for run in [runs.submit(flown, return_state=True) for _ in range(6)]:
        state = run.result()
        print(state.state_details.flow_run_id, state.type.value)
"""


def fly(server: ScaledServer, home: Path) -> None:
    """Have six flow runs complete, and the states of their sixty task runs be known."""
    settings = {"PREFECT_API_URL": server.api.url, "PREFECT_LOGGING_LEVEL": "WARNING"}
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT],
        env=environment(home, settings),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert not done.returncode, done.stderr
    runs = dict(line.split() for line in done.stdout.splitlines())
    assert list(runs.values()) == ["COMPLETED"] * 6, done.stderr
    asked: dict[str, Any] = {
        "flow_runs": {"id": {"any_": list(runs)}},
        "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    wait_for("states of task runs", lambda: server.api.post("task_runs/count", asked) == 60, 90, 0.2)
