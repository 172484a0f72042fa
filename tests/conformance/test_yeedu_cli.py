"""The mock drives `yeedu-cli` 4.13.0 from the package registry, the most complete published client of v2.

Its commands are typed as a user would: login, tenant, a job that is created, run, followed, looked at and
stopped, and notebooks that are followed cell by cell. They need nothing but the mock's defaults.
"""

import re

import pytest

from tests.conformance.cli_scenarios import Terminal
from tests.conformance.mock_process import steps

pytestmark = pytest.mark.timeout(1500, func_only=False)

TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
LOGIN = ["GET login/auth_type 200", "POST login 200", f"POST user/select/{TENANT} 201"]
JOB = "workspace/1/spark/job"
NOTEBOOK = "workspace/1/notebook"


def followed(terminal: Terminal) -> tuple[str, str]:
    """Return the two logs that `job start --follow` has printed, without their empty lines."""
    found = re.search(
        r"=STDOUT for Run ID \d+ =+\n\n(.*?)=+STDERR for Run ID \d+ =+\n\n(.*?)Run \d+ ",
        terminal.typed["job start"].output,
        re.DOTALL,
    )
    assert found, terminal.typed["job start"].output
    return found[1], found[2]


def followed_run(terminal: Terminal) -> str:
    """Return the id of the run that `notebook start --follow` has followed."""
    found = re.search(r"Created notebook run with run_id: (\d+)", terminal.typed["notebook start"].output)
    assert found, terminal.typed["notebook start"].output
    return found[1]


def assert_notebook_calls(terminal: Terminal, notebook_id: int) -> None:
    """Hold the journal against what following a notebook of three cells takes, however long it polls."""
    run_id = followed_run(terminal)
    run = f"{NOTEBOOK}/run/{run_id}"
    kill, update = f"POST {NOTEBOOK}/run/kill/{run_id} 201", f"POST {NOTEBOOK}/{notebook_id}/update"
    before_cells = [
        *LOGIN,
        f"POST {NOTEBOOK}/run 200",
        "GET user/info 200",
        f"GET {run} 200",
        f"POST {run}/kernel/startOrGetStatus 200",
        f"GET {NOTEBOOK}?notebook_id={notebook_id} 200",
        f"GET {NOTEBOOK}/{notebook_id}/run/{run_id}/download 200",
        f"GET {run}/kernel/ws?yeedu_session=*** 200",
        f"WS {run}/kernel/ws/yeedu_session/*** 101",
    ]
    assert steps(terminal.calls)[: len(before_cells)] == before_cells
    assert terminal.calls.count(before_cells[-1]) == 2, "one websocket to try, one to use"
    saved = [call for call in terminal.calls if call.startswith(update)]
    assert saved == [f"{update}?run_id={run_id} 200"] * 3, "once a cell"
    assert terminal.calls[-2:] == [f"GET {run} 200", kill]
    assert terminal.calls.count(kill) == 1


def test_login_and_tenant(cli_job):
    assert cli_job.typed["configure"].exit_code == 0, cli_job.typed["configure"].output
    assert "has been configured for the username: demo" in cli_job.answer("configure")["message"]
    assert cli_job.answer("iam associate-tenant")["tenant_id"] == TENANT
    assert cli_job.calls[:3] == LOGIN


def test_created_job_is_found_by_its_name(cli_job):
    created, found = cli_job.answer("job create"), cli_job.answer("job get")
    assert created["job_id"] == found["job_id"]
    assert (found["name"], found["cluster_id"], found["conf"]) == ("made-here", 30, ["spark.a=1"])


def test_followed_job_prints_its_logs_and_ends_with_0(cli_job):
    process = cli_job.typed["job start"]
    assert process.exit_code == 0, process.output
    assert "Final Run Status DONE" in process.output
    assert followed(cli_job) == (
        'Arguments: of the job\nConf: ["spark.a=1", "spark.b=2"]\n',
        "To the error stream.\n",
    )


def test_ended_job_is_listed_and_its_log_can_be_cut(cli_job):
    (run,) = cli_job.answer("job list-runs")["data"]
    assert (run["run_status"], run["job_name"]) == ("DONE", "made-here")
    assert cli_job.typed["job logs"].output == 'Conf: ["spark.a=1", "spark.b=2"]\n'


def test_logged_out_user_is_turned_away(cli_job):
    assert cli_job.typed["logout"].exit_code == 0, cli_job.typed["logout"].output
    assert "session has expired" in cli_job.answer("job list")["error_message"]


def test_job_is_followed_by_polling_and_both_logs_are_fetched_once(cli_job):
    run_id = cli_job.answer("job list-runs")["data"][0]["run_id"]
    assert steps(cli_job.calls) == [
        *LOGIN,
        f"POST {JOB} 200",
        f"GET {JOB}?job_name=made-here 200",
        f"POST {JOB}/run 200",
        f"GET {JOB}/run/{run_id} 200",
        f"GET {JOB}/run/{run_id}/log/stdout 200",
        f"GET {JOB}/run/{run_id}/log/stderr 200",
        f"GET {JOB}/runs?run_status=DONE&pageNumber=1&limit=100 200",
        f"GET {JOB}/run/{run_id}/log/stdout?last_n_lines=1 200",
        "POST logout 200",
        "GET workspace/1/spark/jobs?pageNumber=1&limit=100 401",
    ]


def test_failing_job_ends_with_an_exit_code_and_its_error(cli_failing_job):
    process = cli_failing_job.typed["job start"]
    assert process.exit_code == 255, process.output
    assert "failed with status: ERROR" in process.output
    assert followed(cli_failing_job) == (
        "Reading the table that is not there.\n",
        "The table orders does not exist.\n",
    )


def test_running_job_is_looked_at_and_stopped(cli_stopped_job):
    assert cli_stopped_job.answer("job run-status")[-1]["run_status"] == "RUNNING"
    assert cli_stopped_job.typed["job logs"].output.startswith("Still running after 0 seconds.\n")
    assert cli_stopped_job.answer("job get-run")["run_status"] in {"STOPPING", "STOPPED"}
    assert "cannot be stopped" in cli_stopped_job.answer("job stop")["error_message"]


def test_stop_is_accepted_once(cli_stopped_job):
    run_id = cli_stopped_job.answer("job start")["run_id"]
    assert cli_stopped_job.calls == [
        *LOGIN,
        f"POST {JOB}/run 200",
        f"GET {JOB}/run/{run_id}/status 200",
        f"GET {JOB}/run/{run_id}/log/stdout 200",
        f"POST {JOB}/run/stop/{run_id} 201",
        f"GET {JOB}/run/{run_id} 200",
        f"POST {JOB}/run/stop/{run_id} 409",
    ]


def test_followed_notebook_prints_every_cell_and_ends_with_0(cli_notebook):
    process = cli_notebook.typed["notebook start"]
    assert process.exit_code == 0, process.output
    cells = re.split(r"\[Cell \d/3\] ─+\n", process.output)
    assert len(cells) == 4, process.output
    # A cell's "[OK]" comes with its reply, which may be later than the next cell's start.
    assert "Hello from a Yeedu notebook, process " in cells[1]
    assert "45\n" in cells[2]
    assert process.output.count("[OK]") == 3
    assert "Cells:      3/3 completed" in cells[3]
    assert "Status:     STOPPED" in cells[3], "a notebook's run ends by being killed"


def test_notebook_is_called_for_in_order_and_killed_once(cli_notebook):
    assert_notebook_calls(cli_notebook, 201)


def test_outputs_of_a_followed_notebook_are_kept_in_its_run(cli_notebook):
    outputs = [cell["outputs"] for cell in cli_notebook.saved]
    assert outputs[0][0]["Celloutput"].startswith("Hello from a Yeedu notebook, process ")
    assert outputs[1:] == [
        [{"output_type": "text", "Celloutput": "45"}],
        [{"output_type": "text", "Celloutput": "<IPython.core.display.HTML object>"}],
    ]
    assert [cell["metadata"]["runBy"] for cell in cli_notebook.saved] == ["demo"] * 3


def test_failing_notebook_ends_with_1_and_shows_the_cell_that_failed(cli_failing_notebook):
    process = cli_failing_notebook.typed["notebook start"]
    assert process.exit_code == 1, process.output
    _, failed = re.split(r"\[Cell 2/3\] ─+\n", process.output)
    assert "[ERROR] ZeroDivisionError: division by zero" in failed
    assert "[Cell 3/3]" not in failed
    assert "Cell execution aborted" in failed
    assert "Cells:      1/3 completed" in failed
    assert_notebook_calls(cli_failing_notebook, 202)
