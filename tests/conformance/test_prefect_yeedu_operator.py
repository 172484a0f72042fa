"""The mock drives `prefect-yeedu-operator` 1.0.8 from the package registry, on the Prefect 2 that it brings.

It is the operator that users of Yeedu have had so far, and the only published client of the v1 generation
that runs on Prefect. It was written against a Yeedu server and knows nothing of the mock: where it finds what
it waits for, our own tests may trust the mock's answers too. Its defects are left as they are. The mock's
defaults are enough for it but for one switch: `select_again`, for a token that has selected its tenant in an
earlier run.
"""

import re

import pytest

from tests.conformance.mock_process import steps
from tests.conformance.operator_scenarios import FlowRuns

pytestmark = pytest.mark.timeout(1500, func_only=False)

TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
LOGIN = ["POST login 200", f"POST user/select/{TENANT} 201"]


def job_ids(runs: FlowRuns) -> list[str]:
    """Return the ids that the operator has logged for its executions."""
    return re.findall(r"Job Submited \(Job Id: (\d+)\)", runs.process.output)


def job_calls(job_id: str) -> list[str]:
    """Return what one job costs, however often it is looked at."""
    return ["POST workspace/1/spark/job 200", f"GET workspace/1/spark/job/{job_id} 200"]


def test_flow_runs_end_as_their_jobs_do(operator_jobs):
    assert operator_jobs.process.exit_code == 0, operator_jobs.process.output
    states = [run["state"] for run in operator_jobs.states]
    assert states == ["COMPLETED", "COMPLETED", "FAILED"], operator_jobs.process.output
    finals = re.findall(r"Final Job Status: (\w+)", operator_jobs.process.output)
    assert finals == ["DONE", "ERROR"]
    assert "Login successful. Token: ***" in operator_jobs.process.output, "the token it prints is struck out"


def test_failed_flow_run_points_at_the_logs_of_its_own_job(operator_jobs):
    _, failed = job_ids(operator_jobs)
    host = operator_jobs.mock_url.rpartition(":")[0]
    link = f"{host}/tenant/{TENANT}/workspace/1/spark/{failed}/run-logs?log_type=stderr"
    assert link in operator_jobs.states[2]["message"]


def test_jobs_are_logged_in_for_submitted_once_and_polled(operator_jobs):
    succeeded, failed = job_ids(operator_jobs)
    assert succeeded != failed
    assert steps(operator_jobs.calls) == [
        "GET healthCheck 200",
        *(LOGIN + job_calls(succeeded)),
        *(LOGIN + job_calls(failed)),
    ]
    for job_id in (succeeded, failed):  # at least one look while waiting, and the clean-up's
        assert operator_jobs.calls.count(f"GET workspace/1/spark/job/{job_id} 200") >= 2


def test_token_of_an_earlier_run_serves_again_under_one_switch(operator_token):
    assert [run["state"] for run in operator_token.states] == ["COMPLETED"], operator_token.process.output
    (job_id,) = job_ids(operator_token)
    assert steps(operator_token.calls) == [LOGIN[1], *job_calls(job_id)]


def test_notebook_completes_and_every_cell_is_seen(operator_notebook):
    process = operator_notebook.process
    assert process.exit_code == 0, process.output
    assert [run["state"] for run in operator_notebook.states] == ["COMPLETED"], process.output
    assert "Execution Result:\n45" in process.output
    assert process.output.count("Removing notebook cells ...") == 3
    assert "Waiting 0 cells to finish" in process.output
    assert "Notebook is stopped." in process.output


def test_notebook_is_called_for_in_order_and_killed_once(operator_notebook):
    calls = operator_notebook.calls
    found = re.search(r"POST workspace/1/notebook/kill/(\d+) 201", "\n".join(calls))
    assert found, calls
    notebook = f"workspace/1/notebook/{found[1]}"
    running = "GET workspace/1/notebooks?notebook_conf_id=201&notebook_status=RUNNING&isActive=true"
    # After the kill, the websocket's own reconnection and looks at the notebook come in any order.
    until_kill = calls[: calls.index(found[0]) + 1]
    assert [call for call in steps(until_kill) if call != f"{running} 404"] == [
        *LOGIN,
        "POST workspace/1/notebook 200",
        f"{running} 200",
        f"POST {notebook}/kernel/startOrGetStatus 200",
        f"GET {notebook}/kernel/ws?yeedu_session=*** 200",
        f"WS {notebook}/kernel/ws/yeedu_session/*** 101",
        "GET workspace/1/notebook/conf?notebook_conf_id=201 200",
        "POST workspace/1/notebook/201/update 201",
        f"GET {notebook} 200",
        found[0],
    ]
    assert until_kill.count(f"GET {notebook} 200") % 6 == 0, "it looks six times in a row"
    assert [call for call in calls if "/kill/" in call] == [found[0]]
    assert calls[-1] == f"GET {notebook} 200"


def test_outputs_that_it_saves_are_kept_in_its_own_form(operator_notebook):
    printed, value, displayed = [cell.get("output") for cell in operator_notebook.cells]
    assert printed[0]["text"][0].startswith("Hello from a Yeedu notebook, process ")
    assert not value, "this client does not save what an expression gives"
    assert displayed == [{"text": "<IPython.core.display.HTML object>"}]
