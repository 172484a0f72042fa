"""A flow run in what Prefect's worker for Kubernetes starts in a pod: `prefect flow-run execute`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from mock_yeedu import MockYeedu
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]

PREFECT = Path(sys.executable).with_name("prefect")
FLOWS = """
from operators.yeedu import YeeduOperator
from prefect import flow, task


def wait(address: str) -> None:
    done = YeeduOperator(address, "yeedu_connection_details", "yeedu_password").execute()
    assert done.stdout == "result\\n"


@flow
def plain(address: str) -> None:
    wait(address)


@flow
async def in_async_code(address: str) -> None:
    done = await YeeduOperator(address, "yeedu_connection_details", "yeedu_password").aexecute()
    assert done.stdout == "result\\n"


@flow
def in_a_submitted_task(address: str) -> None:
    task(wait).submit(address).result()


@flow
def in_a_subflow(address: str) -> None:
    flow(wait)(address)
"""
PROGRAM = """
import pathlib, time

while not pathlib.Path({gate!r}).exists():
    time.sleep(0.05)
print("result")
"""


def awaited(look: Callable[[], bool], what: str, seconds: float = 200) -> None:
    """Wait until something is so: a busy machine is no failure."""
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@dataclass
class Pod:
    """A flow run, and the pods in which it is tried."""

    mock: MockYeedu
    job: int
    gate: Path
    id: UUID

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[str]]:
        """Start the command of a pod, with what the worker adds to its environment."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_HOME": str(self.gate.parent / "home"),
            "PREFECT__FLOW_RUN_ID": str(self.id),
            "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
        }
        process = subprocess.Popen(
            [PREFECT, "flow-run", "execute"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    @property
    def flow_run(self) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.id)

    @property
    def runs(self) -> list[str]:
        """The states of every run of the job that there is on Yeedu."""
        return [run["run_status"] for run in self.mock.runs_of(self.job)]

    def wait_for_yeedu(self) -> None:
        awaited(lambda: self.runs == ["RUNNING"], f"the run on Yeedu: {self.runs}")


@pytest.fixture
def pod(mock: MockYeedu, tmp_path: Path, request: pytest.FixtureRequest) -> Pod:
    (tmp_path / "flows.py").write_text(FLOWS)
    gate = tmp_path / "gate"
    job: dict[str, Any] = {"program": PROGRAM.format(gate=str(gate)), "workspace_id": 1}
    number = mock.control("POST", "jobs", json=job)["job_id"]
    pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}]
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name(f"in-a-pod-{uuid.uuid4().hex[:8]}")
        deployment = client.create_deployment(
            flow_id, "in-a-pod", entrypoint=f"flows.py:{request.param}", pull_steps=pull
        )
        run = client.create_flow_run_from_deployment(
            deployment, parameters={"address": mock.url(f"job/{number}")}
        )
    return Pod(mock, number, gate, run.id)


@pytest.mark.parametrize("pod", ["plain"], indirect=True)
def test_cancelled_flow_run_stops_the_run_on_yeedu(pod: Pod) -> None:
    """The pod's process hears of it from the server; no pod has to be killed for it."""
    with pod.started() as process:
        pod.wait_for_yeedu()
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(pod.id, Cancelling())
        said, _ = process.communicate(timeout=200)
    assert pod.flow_run.state_name == "Cancelled", said
    awaited(lambda: pod.runs != ["RUNNING"], "the run on Yeedu ends")
    assert pod.runs == ["STOPPED"]


@pytest.mark.parametrize(
    "pod", ["plain", "in_async_code", "in_a_submitted_task", "in_a_subflow"], indirect=True
)
def test_flow_run_of_an_evicted_pod_goes_on_with_its_one_run_on_yeedu(pod: Pod) -> None:
    """A node is drained: the pod gets SIGTERM, its flow run is due again, and the next pod finds the run."""
    with pod.started() as process:
        pod.wait_for_yeedu()
        process.terminate()
        said, _ = process.communicate(timeout=200)
    assert pod.flow_run.state_name == "AwaitingRetry", said
    assert pod.runs == ["RUNNING"], "nobody has stopped it"
    with pod.started() as process:
        awaited(lambda: pod.flow_run.state_name == "Running", "the next pod runs it")
        pod.gate.touch()
        said, _ = process.communicate(timeout=200)
    assert pod.flow_run.state_name == "Completed", said
    assert pod.runs == ["DONE"]
