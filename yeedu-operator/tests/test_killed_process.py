"""The process is killed anywhere; the flow run, started again, ends with the one remote run's result."""

import json
import os
import random
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mock_yeedu import MockYeedu
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# Half as many for notebooks as for jobs. The seed is drawn anew each time, and shown when a test fails.
POINTS = int(os.environ.get("YEEDU_KILL_POINTS", "4"))
SEED = int(os.environ.get("YEEDU_KILL_SEED") or secrets.randbelow(2**32))
LAST_POINT_SECONDS = 2.0

PROGRAM = """
import json, sys
from uuid import UUID
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from operators.yeedu import YeeduOperator

@flow(name="killed")
def killed():
    print("ready", flush=True)
    result = YeeduOperator(sys.argv[1], "yeedu_connection_details", "yeedu_password").execute()
    cells = [cell.status for cell in result.cells]
    print(json.dumps({"run_id": result.run_id, "stdout": result.stdout, "cells": cells}), flush=True)

with get_client(sync_client=True) as client:
    flow_run = client.read_flow_run(UUID(sys.argv[2]))
run_flow(killed, flow_run=flow_run)
"""


@flow(name="killed")
def killed() -> None:
    """Stands for the program's flow, of which the server knows only the name."""


def begin(program: Path, address: str, flow_run_id: UUID) -> subprocess.Popen[str]:
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    process = subprocess.Popen(
        [sys.executable, str(program), address, str(flow_run_id)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("kind", "point"),
    [("job", point) for point in range(POINTS)]
    + [("notebook", point) for point in range(max(1, POINTS // 2))],
)
def test_one_remote_run_whenever_the_process_is_killed(
    mock: MockYeedu, tmp_path: Path, kind: str, point: int
) -> None:
    if kind == "job":
        program = "import time; time.sleep(0.8); print('result')"
        definition = mock.control("POST", "jobs", json={"program": program})["job_id"]
    else:
        cells = ["n = 1", "import time; time.sleep(0.3); n += 1", "n += 1", "assert n == 3"]
        definition = mock.control("POST", "notebooks", json={"cells": cells})["notebook_id"]
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    address = mock.url(f"{kind}/{definition}")
    with get_client(sync_client=True) as client:
        flow_run_id = client.create_flow_run(killed).id
    first = begin(path, address, flow_run_id)
    delay_seconds = random.Random(f"{SEED} {kind} {point}").uniform(0, LAST_POINT_SECONDS)
    print(f"Killed after {delay_seconds:.3f} s; YEEDU_KILL_SEED={SEED} kills there again.")
    time.sleep(delay_seconds)  # the point of the kill is what this test is about
    first.kill()
    first.communicate()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, AwaitingRetry(), force=True)
    second = begin(path, address, flow_run_id)
    output, _ = second.communicate(timeout=90)
    answer: dict[str, Any] = json.loads(output)
    route = "spark/job" if kind == "job" else "notebook"
    with mock.client("job/1") as client:
        runs = client.get_object(f"workspace/1/{route}/runs", "for runs", params={f"{kind}_ids": definition})[
            "data"
        ]
    assert [run["run_id"] for run in runs] == [answer["run_id"]]
    assert answer["stdout"] == ("result\n" if kind == "job" else "")
    assert answer["cells"] == ([] if kind == "job" else ["ok"] * 4)
