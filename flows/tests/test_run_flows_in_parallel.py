"""The flow run-flows-in-parallel: all at once, each to its end, and one failure fails it."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State

import run_flows_in_parallel as module

ReadLog = Callable[..., list[Any]]
FLOWS = str(Path(__file__).parents[1])
NAMES = ("print-message", "run-shell-command", "verify-file-names")


def subflow_states(state: State[Any]) -> dict[str, str]:
    """The final states of a run's subflows, by the subflow's run name."""
    parent = {"parent_flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}}
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(parent))
    return {run.name: run.state.name or "" for run in runs if run.state is not None}


def test_all_subflows_complete_and_each_state_is_reported(read_log: ReadLog) -> None:
    state = module.run_flows_in_parallel("Hello", "echo from the shell", return_state=True)
    assert state.is_completed(), state.message
    assert state.result() == dict.fromkeys(NAMES, "Completed")
    assert [line for line in read_log(state) if line.endswith(": Completed")] == [
        f"{name}: Completed" for name in NAMES
    ]
    assert subflow_states(state) == {
        "print: Hello": "Completed",
        "$ echo from the shell": "Completed",
        "verify flows/content_files": "Completed",
    }


def test_one_failure_fails_the_run_after_all_have_ended(read_log: ReadLog, tmp_path: Path) -> None:
    state = module.run_flows_in_parallel(
        "Hello", "sleep 1; exit 4", str(tmp_path / "nowhere"), return_state=True
    )
    assert state.is_failed()
    message = state.message or ""
    assert "2 of 3 flows did not complete" in message
    assert (
        "run-shell-command: Flow run encountered an exception: CommandError: The command exited with code 4"
        in message
    )
    assert f"There is no folder {tmp_path / 'nowhere'}" in message
    assert sorted(subflow_states(state).values()) == ["Completed", "Failed", "Failed"]
    assert "print-message: Completed" in read_log(state)
    assert "verify-file-names: Failed" in read_log(state)


UNBUILT = """
import run_flows_in_parallel as module
from pydantic import BaseModel

def unbuilt(model=BaseModel):
    names = set() if model.__pydantic_complete__ else {model.__qualname__}
    return names.union(*map(unbuilt, model.__subclasses__()))

def build_and_note(build=module.build_prefect_models):
    assert "FlowRunUpdate" in unbuilt()
    build()
    module.left = unbuilt()

module.build_prefect_models = build_and_note
module.run_flows_in_parallel(command="echo here")
print("first built in a thread:", sorted(module.left - unbuilt()))
"""


def test_no_model_of_prefect_is_first_built_in_a_thread(run_python: Callable[..., Any]) -> None:
    process = run_python("-c", UNBUILT, PYTHONPATH=FLOWS)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "first built in a thread: []" in output


@pytest.mark.filterwarnings("default")  # a broken barrier in one thread must not hide why
def test_subflows_run_at_the_same_time(prefect_server: str) -> None:
    meeting = threading.Barrier(3)

    @flow(name="meet")
    def meet() -> None:
        meeting.wait(timeout=60)

    @flow(name="hold-a-meeting")
    def hold_a_meeting() -> int:
        calls = {str(number): lambda: meet(return_state=True) for number in range(3)}
        return sum(state.is_completed() for state in module.run_subflows(calls).values())

    assert hold_a_meeting() == 3


def test_cancelling_ends_the_commands_of_subflows(
    run_python: Callable[..., Any], tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    pid = tmp_path / "pid"
    code = "import sys; from run_flows_in_parallel import *; run_flows_in_parallel(command=sys.argv[1])"
    process = run_python("-c", code, f"echo $$ > {pid}; exec sleep 600", PYTHONPATH=FLOWS)
    wait_for("running command", lambda: pid.exists() or process.poll() is not None, 100)
    assert process.poll() is None, process.communicate()
    process_id = wait_for("its number", lambda: pid.read_text().strip())
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=100)
    assert process.returncode != 0, output
    wait_for("end of the command", lambda: not Path(f"/proc/{process_id}/cmdline").exists())
