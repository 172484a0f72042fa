"""Exactly one remote run, whatever happens on the way."""

import time
from typing import Any

import pytest
from addressed import execute
from kept_ledger import KeptLedger
from mock_yeedu import MockYeedu
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect_blocks import operator
from scripted_yeedu import TENANT

from prefect_yeedu import YeeduCellFailed, YeeduPrefectUnavailable, YeeduRunFailed, YeeduTransportError
from prefect_yeedu.flow_run.prefect_server import retry_within
from prefect_yeedu.flow_run.run_record import ArtifactLedger
from prefect_yeedu.models import YeeduResult
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.remote_run import RemoteRun, RunListener
from prefect_yeedu.runs.request import RunRequest

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class SimulatedKillError(BaseException):
    """Stands for the end of the process: nothing after it is done."""


def new_job(mock: MockYeedu, program: str = "print('done')") -> int:
    return mock.control("POST", "jobs", json={"program": program})["job_id"]


def test_the_run_is_recorded_as_an_artifact_with_its_link(mock: MockYeedu) -> None:
    job = new_job(mock)

    @flow
    def caller() -> YeeduResult:
        return operator(mock, job).execute()

    state = caller(return_state=True)
    result = state.result()
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        [artifact] = client.read_artifacts(artifact_filter=wanted)
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
    assert artifact.key == f"yeedu-job-{job}"
    fields = dict(artifact.metadata_ or {})
    key = fields.pop("key")
    assert 0 < time.time() - float(fields.pop("intended_at")) < 120
    assert fields.pop("passed")
    assert fields == {
        "base_url": f"{mock.base}/api/v1",
        "tenant": TENANT,
        "workspace": "1",
        "kind": "job",
        "definition": str(job),
        "generation": "v2",
        "run_id": str(result.run_id),
        "url": result.url,
        "phase": "ended",
        "state": "DONE",
        "attempt": "1",
        "made_in": "1",
        "connection_block_name": "yeedu_connection_details",
        "login_password_block_name": "yeedu_password",
    }
    assert f"[run {result.run_id}]({result.url}) succeeded" in str(artifact.data)
    assert mock.password not in str(artifact)
    assert mock.runs_of(job)[0]["conf"] == [
        f"spark.yeedu.prefect_flow_run_name={flow_run.name}",
        f"spark.yeedu.prefect_key={key}",
    ]


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 429, "headers": {"Retry-After": "0"}}])
def test_a_lost_or_failed_answer_to_the_submission_leaves_one_run(
    mock: MockYeedu, fault: dict[str, Any]
) -> None:
    job = new_job(mock)
    mock.control("POST", "faults", json={"path": "job/run$", "method": "POST", **fault})
    with mock.client(f"job/{job}") as client:
        assert execute(client, RunRequest()).state == "DONE"
    assert len(mock.runs_of(job)) == 1


def test_a_kill_between_acceptance_and_record_leaves_one_run(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = new_job(mock)
    kills = iter([True])
    note_submitted = ArtifactLedger.note_submitted

    def killed(self: ArtifactLedger, run_id: int, url: str) -> None:
        if next(kills, False):
            raise RuntimeError("killed")
        note_submitted(self, run_id, url)

    monkeypatch.setattr(ArtifactLedger, "note_submitted", killed)

    @flow(retries=1)
    def caller() -> YeeduResult:
        return operator(mock, job).execute()

    result = caller()
    [run] = mock.runs_of(job)
    assert (result.run_id, result.state) == (run["run_id"], "DONE")


def test_a_retried_flow_waits_for_the_run_that_goes_on(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = new_job(mock, "import time; time.sleep(1.5); print('slept')")
    losses = iter([True])
    wait = JobRun.wait

    def lost(self: JobRun, ends_at: float | None = None) -> YeeduResult:
        if next(losses, False):
            raise YeeduTransportError("Yeedu cannot be reached.")
        return wait(self, ends_at)

    monkeypatch.setattr(JobRun, "wait", lost)

    @task
    def in_task() -> YeeduResult:
        return operator(mock, job).execute()

    @flow(retries=1)
    def caller() -> YeeduResult:
        return in_task()

    assert caller().stdout == "slept\n"
    assert len(mock.runs_of(job)) == 1


def test_a_retry_after_a_failure_runs_again(mock: MockYeedu) -> None:
    job = new_job(mock, "raise SystemExit(3)")

    @task(retries=1)
    def in_task() -> None:
        operator(mock, job).execute()

    @flow
    def caller() -> None:
        in_task()

    with pytest.raises(YeeduRunFailed):
        caller()
    assert len(mock.runs_of(job)) == 2


def test_a_flow_retried_for_another_reason_takes_the_result(mock: MockYeedu) -> None:
    job = new_job(mock)
    failures = iter([True])
    results: list[YeeduResult] = []

    @flow(retries=1)
    def caller() -> None:
        results.append(operator(mock, job).execute())
        if next(failures, False):
            raise ValueError("a later step failed")

    caller()
    assert [result.stdout for result in results] == ["done\n", "done\n"]
    assert len(mock.runs_of(job)) == 1


def test_equal_calls_of_one_flow_are_different_runs(mock: MockYeedu) -> None:
    job = new_job(mock)

    @flow
    def caller() -> None:
        operator(mock, job).execute()
        operator(mock, job).execute()
        operator(mock, job, arguments="x").execute()

    caller()
    assert len(mock.runs_of(job)) == 3


def test_an_unknown_job_can_be_tried_again(mock: MockYeedu) -> None:
    @flow(retries=1)
    def caller() -> None:
        operator(mock, 999_999).execute()

    with pytest.raises(Exception, match="There is no job 999999"):
        caller()


def test_nothing_is_submitted_when_the_intent_cannot_be_recorded(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    def refuse(self: ArtifactLedger, client: Any) -> None:
        raise httpx.ConnectError("no server")

    job = new_job(mock)
    monkeypatch.setattr("prefect_yeedu.flow_run.run_record.INTENT_RETRIES", retry_within(0.1))
    monkeypatch.setattr(ArtifactLedger, "_create", refuse)

    @flow
    def caller() -> None:
        operator(mock, job).execute()

    with pytest.raises(YeeduPrefectUnavailable, match="cannot be recorded"):
        caller()
    assert mock.runs_of(job) == []


class KillAt(RunListener):
    def __init__(self, cell: int) -> None:
        self.cell = cell

    def on_cell_started(self, index: int, total: int) -> None:
        if index == self.cell:
            raise SimulatedKillError


class KillWhileExecuted(RunListener):
    def on_output(self, index: int, output: Any) -> None:
        if index == 2:
            raise SimulatedKillError


CELLS = [
    "count = 1",
    "print('in 2', flush=True); import time; time.sleep(0.5); count += 1",
    "count += 1; count",
]


def killed_notebook(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch, listener: RunListener, cells: list[str]
) -> tuple[str, KeptLedger]:
    """Start a notebook and lose the process that executes it; nothing is stopped or recorded any more."""
    notebook = mock.control("POST", "notebooks", json={"cells": cells})["notebook_id"]
    ledger = KeptLedger()
    path = f"notebook/{notebook}"
    with monkeypatch.context() as patch:
        patch.setattr(RemoteRun, "stop", lambda self: False)
        with mock.client(path) as client, pytest.raises(SimulatedKillError):
            execute(client, RunRequest(), listener, ledger)
    return path, ledger


@pytest.mark.parametrize("listener", [KillAt(1), KillAt(2), KillAt(3), KillWhileExecuted()])
def test_a_notebook_is_taken_over_where_it_was_left(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch, listener: RunListener
) -> None:
    path, ledger = killed_notebook(mock, monkeypatch, listener, CELLS)
    with mock.client(path) as client:
        result = execute(client, RunRequest(), None, ledger)
    assert [cell.status for cell in result.cells] == ["ok", "ok", "ok"]
    assert result.cells[2].outputs[0].text == "3"
    assert len(mock.runs_of(int(path.rpartition("/")[2]), "notebook", "notebook_ids")) == 1


@pytest.mark.parametrize("page", ["run-metrics?type=notebook", "run-logs?log_type=stdout"])
def test_a_notebook_is_taken_over_by_its_run_s_address(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    _, ledger = killed_notebook(mock, monkeypatch, KillAt(2), CELLS)
    with mock.client(f"run/{ledger.record.run_id}/{page}") as client:
        result = execute(client, RunRequest())
    assert result.run_id == ledger.record.run_id
    assert [cell.status for cell in result.cells] == ["ok", "ok", "ok"]
    assert result.cells[2].outputs[0].text == "3"


def test_a_cell_that_failed_while_nobody_looked_is_a_failure(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = ["1", "print('in 2', flush=True); import time; time.sleep(0.5); 1 / 0", "print('never')"]
    path, ledger = killed_notebook(mock, monkeypatch, KillWhileExecuted(), cells)
    with mock.client(path) as client, pytest.raises(YeeduCellFailed, match="Cell 2 of 3") as caught:
        execute(client, RunRequest(), None, ledger)
    assert caught.value.ename == "ZeroDivisionError"


def test_a_finished_notebook_gives_its_result_again(mock: MockYeedu) -> None:
    notebook = mock.control("POST", "notebooks", json={"cells": ["print('kept')", "6 * 7"]})["notebook_id"]
    ledger = KeptLedger()
    for _ in range(2):
        with mock.client(f"notebook/{notebook}") as client:
            result = execute(client, RunRequest(), None, ledger)
        assert [output.text for output in result.outputs] == ["kept\n", "42"]
    assert len(mock.runs_of(notebook, "notebook", "notebook_ids")) == 1
