"""A flow run of a deployment is suspended while its job runs, and goes on with the one run's result."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from deployed_runs import DeployedRun, await_true
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.flow_runs import suspend_flow_run
from prefect.states import AwaitingRetry, Pending, Running
from prefect.task_runners import ProcessPoolTaskRunner
from prefect.transactions import transaction
from prefect_blocks import credentials, operator

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduJob, YeeduRunFailed, arun_yeedu_job, run_yeedu_job
from prefect_yeedu.flow_run.record_fields import record_of_pause
from prefect_yeedu.retry_policy import ONCE
from prefect_yeedu.runs.start import StartedRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from mock_yeedu import MockYeedu

    from prefect_yeedu import YeeduCredentials

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def stored(mock: MockYeedu) -> YeeduCredentials:
    """Credentials in a block, which a record can name."""
    block = credentials(mock)
    block.save("deferring", overwrite=True)
    return block


def waiting_job(mock: MockYeedu, **more: Any) -> int:
    """Add a job whose runs go on until the test ends them."""
    program = "import time; print('begun', flush=True); time.sleep(300)"
    return mock.control("POST", "jobs", json={"program": program, **more})["job_id"]


def run_ids(mock: MockYeedu, job: int) -> list[int]:
    return [run["run_id"] for run in mock.runs_of(job)]


def end_runs(mock: MockYeedu, *jobs: int, status: str = "DONE") -> None:
    """Have every run of jobs end."""
    for job in jobs:
        for run in mock.runs_of(job):
            mock.control("POST", f"runs/{run['run_id']}", json={"status": status})


def fast_job(mock: MockYeedu) -> int:
    return mock.control("POST", "jobs", json={"program": "print('result')"})["job_id"]


def meet_suspension(monkeypatch: pytest.MonkeyPatch, meet: Callable[[Callable[[], Any]], Any]) -> list[str]:
    """Have the first request to suspend met in some way; return where it is noted that it came.

    Args:
        monkeypatch: Puts that in place.
        meet: Gets what sends the request, and returns its answer.
    """
    propose = SyncPrefectClient.set_flow_run_state
    met: list[str] = []

    def set_state(self: SyncPrefectClient, flow_run_id: Any, state: Any, *rest: Any, **more: Any) -> Any:
        send = partial(propose, self, flow_run_id, state, *rest, **more)
        if state.name != "Suspended" or met:
            return send()
        met.append(state.name)
        return meet(send)

    monkeypatch.setattr(SyncPrefectClient, "set_flow_run_state", set_state)
    return met


def test_it_is_suspended_while_the_run_goes_on_and_returns_its_result_then(mock: MockYeedu) -> None:
    job = waiting_job(mock)
    seen: list[Any] = []
    run = DeployedRun.of(lambda: seen.append(operator(mock, job, deferrable=True).execute()))
    assert run.attempt() == "Suspended"
    [remote] = run_ids(mock, job)
    [record] = run.records()
    assert record["run_id"] == str(remote)
    assert record["phase"] in {"submitted", "running"}
    assert float(record["deferred_at"]) > 0
    assert record["deferred_until"] == ""
    state = run.flow_run.state
    assert state is not None
    assert record_of_pause(state.state_details.pause_key) is not None
    assert any(f"Run {remote} goes on without this process" in line for line in run.log())
    end_runs(mock, job)
    run.resume()
    assert run.attempt() == "Completed"
    assert [(result.run_id, result.state) for result in seen] == [(remote, "DONE")]
    assert run_ids(mock, job) == [remote]
    assert run.flow_run.run_count == 1, "a suspended run goes on with the attempt that it was in"
    [record] = run.records()
    assert record["phase"] == "ended"


def test_resumed_by_hand_too_early_it_is_suspended_anew(mock: MockYeedu) -> None:
    job = waiting_job(mock)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True).execute())
    keys: set[str | None] = set()
    for _ in range(2):
        assert run.attempt() == "Suspended"
        state = run.flow_run.state
        keys.add(state.state_details.pause_key if state else None)
        run.resume()
    assert len(keys) == 2, "a pause of the same key would not be made again"
    end_runs(mock, job)
    assert run.attempt() == "Completed"
    assert len(run_ids(mock, job)) == 1


def test_a_run_that_has_ended_at_the_first_look_does_not_suspend(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = waiting_job(mock)
    finish = StartedRun.finish

    def late(self: StartedRun) -> Any:
        end_runs(mock, job)
        return finish(self)

    monkeypatch.setattr(StartedRun, "finish", late)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True).execute())
    assert run.attempt() == "Completed"
    assert "deferred_at" not in run.records()[0]


@pytest.mark.parametrize("step", ["note_submitted", "note_deferred"])
def test_killed_between_the_submission_and_the_suspension_the_next_attempt_takes_the_run_over(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    job = waiting_job(mock)

    class Killed(BaseException):
        """Stands for the end of the process."""

    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(f"prefect_yeedu.flow_run.run_record.ArtifactLedger.{step}", killed)
    monkeypatch.setattr("prefect_yeedu.runs.remote_run.RemoteRun.stop", killed)  # a killed process stops none
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True).execute())
    with pytest.raises(Killed):
        run.attempt()
    monkeypatch.undo()
    [remote] = run_ids(mock, job)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
    assert run.attempt() == "Suspended"
    end_runs(mock, job)
    run.resume()
    assert run.attempt() == "Completed"
    assert run_ids(mock, job) == [remote]


def test_a_suspension_whose_answer_is_lost_is_not_waited_through(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = waiting_job(mock)

    def lose(send: Callable[[], Any]) -> None:
        send()
        raise httpx.ReadTimeout("lost")

    lost = meet_suspension(monkeypatch, lose)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True).execute())
    assert run.attempt() == "Suspended"
    assert lost


def test_while_a_submitted_task_goes_on_it_waits_and_is_suspended_once_that_is_done(mock: MockYeedu) -> None:
    job = waiting_job(mock)
    is_begun, is_seen = threading.Event(), threading.Event()

    @task
    def beside() -> None:
        is_begun.set()
        is_seen.wait(60)

    def both() -> None:
        future = beside.submit()
        is_begun.wait(60)
        operator(mock, job, deferrable=True).execute()
        future.result()

    run = DeployedRun.of(both)

    def see() -> str:
        await_true(
            "waits", lambda: any("This call waits here while tasks go on" in line for line in run.log())
        )
        state = run.state
        is_seen.set()
        return state

    with ThreadPoolExecutor() as pool:
        seen = pool.submit(copy_context().run, see)
        assert run.attempt() == "Suspended"
    assert seen.result() == "Running"


def test_with_a_runner_of_other_processes_it_waits(mock: MockYeedu) -> None:
    """Nobody can tell then whether the flow has submitted something that goes on."""
    run = DeployedRun.of(
        lambda: operator(mock, slow_job(mock), deferrable=True).execute(),
        task_runner=ProcessPoolTaskRunner(max_workers=1),
    )
    assert run.attempt() == "Completed"
    assert any("This call waits here while tasks go on" in line for line in run.log())


@pytest.mark.parametrize("meanwhile", ["suspended", "resumed", "runs elsewhere", "Yeedu's run has ended"])
def test_a_suspension_of_which_nothing_is_known_is_asked_about_until_it_is(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The server has suspended the flow run, and is away then: the next step is another process's."""
    job = waiting_job(mock)
    read = SyncPrefectClient.read_flow_run
    steps: list[str] = []

    def lose(send: Callable[[], Any]) -> None:
        with suppress(httpx.HTTPStatusError):  # a busy server's, and lost as well
            send()
        if meanwhile in {"resumed", "runs elsewhere"}:
            run.resume()
        if meanwhile == "runs elsewhere":
            with get_client(sync_client=True) as client:
                for state in (Pending(), Running()):
                    client.set_flow_run_state(run.id, state)
        if meanwhile == "Yeedu's run has ended":
            end_runs(mock, job)
        raise httpx.ReadTimeout("lost")

    lost = meet_suspension(monkeypatch, lose)

    def away(self: SyncPrefectClient, flow_run_id: Any) -> Any:
        if len(lost) in {1, 2}:  # after the suspension, twice
            lost.append("read")
            raise httpx.ConnectError("away")
        return read(self, flow_run_id)

    def calls() -> None:
        operator(mock, job, deferrable=True).execute()
        steps.append("next")

    run = DeployedRun.of(calls)
    monkeypatch.setattr("prefect_yeedu.flow_run.deferral.RETRIES", ONCE)
    monkeypatch.setattr(SyncPrefectClient, "read_flow_run", away)
    states = {"resumed": "Resuming", "runs elsewhere": "Running"}
    assert run.attempt() == states.get(meanwhile, "Suspended")
    assert steps == []
    assert len(lost) == 3


def test_a_suspension_that_never_reached_the_server_is_asked_for_again(
    mock: MockYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = waiting_job(mock)

    def lose(_send: Callable[[], Any]) -> None:
        raise httpx.ConnectError("away")

    lost = meet_suspension(monkeypatch, lose)
    monkeypatch.setattr("prefect_yeedu.flow_run.deferral.RETRIES", ONCE)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True).execute())
    assert run.attempt() == "Suspended"
    assert lost


def test_resumed_near_the_end_of_its_budget_it_waits_for_that(mock: MockYeedu) -> None:
    """Who resumed it may be ahead of this clock, and would do so again and again."""
    job = waiting_job(mock)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True, timeout_seconds=15).execute())
    assert run.attempt() == "Suspended"
    run.resume()
    assert run.attempt() == "Failed"
    assert [one["run_status"] for one in mock.runs_of(job)] == ["STOPPED"]


def test_two_calls_one_after_the_other_have_one_run_each_and_the_first_is_not_run_again(
    mock: MockYeedu,
) -> None:
    first, second = waiting_job(mock), waiting_job(mock)
    seen: list[Any] = []

    def both() -> None:
        for job in (first, second):
            try:
                seen.append(operator(mock, job, deferrable=True, resume="never").execute().run_id)
            except YeeduRunFailed as error:
                seen.append(f"{error.run_id} failed")

    run = DeployedRun.of(both)
    assert run.attempt() == "Suspended"
    end_runs(mock, first, status="ERROR")
    run.resume()
    assert run.attempt() == "Suspended"
    end_runs(mock, second)
    run.resume()
    assert run.attempt() == "Completed"
    [one], [two] = run_ids(mock, first), run_ids(mock, second)
    assert seen == [f"{one} failed", f"{one} failed", two], (
        "made again, each call returns what it had returned"
    )


def test_a_flow_run_that_is_really_tried_again_runs_anew_what_had_failed(mock: MockYeedu) -> None:
    job = waiting_job(mock)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True).execute())
    assert run.attempt() == "Suspended"
    end_runs(mock, job, status="ERROR")
    run.resume()
    assert run.attempt() == "Failed"
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
    assert run.attempt() == "Suspended"
    assert len(run_ids(mock, job)) == 2


def test_two_runs_are_triggered_before_either_is_waited_for(
    mock: MockYeedu, stored: YeeduCredentials
) -> None:
    first, second = waiting_job(mock), waiting_job(mock)
    seen: list[int] = []

    def side_by_side() -> None:
        runs = [
            YeeduJob(credentials=stored, job_url=mock.url(f"job/{job}"), deferrable=True).trigger()
            for job in (first, second)
        ]
        for run in runs:
            run.wait_for_completion()
            seen.append(run.fetch_result().run_id or 0)

    run = DeployedRun.of(side_by_side)
    assert run.attempt() == "Suspended"
    assert (len(run_ids(mock, first)), len(run_ids(mock, second))) == (1, 1), "both run side by side"
    end_runs(mock, first)
    run.resume()
    assert run.attempt() == "Suspended"
    end_runs(mock, second)
    run.resume()
    assert run.attempt() == "Completed"
    assert seen[1:] == [*run_ids(mock, first), *run_ids(mock, second)]


def test_budget_counts_from_the_first_wait_and_the_flow_run_itself_stops_the_run(mock: MockYeedu) -> None:
    job = waiting_job(mock)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True, timeout_seconds=2).execute())
    assert run.attempt() == "Suspended"
    [record] = run.records()
    until = float(record["deferred_until"])
    assert 0 < until - float(record["deferred_at"]) <= 2
    while time.time() < until:
        time.sleep(0.05)
    run.resume()
    assert run.attempt() == "Failed"
    state = run.flow_run.state
    assert "did not end within 2 seconds" in (state.message or "" if state else "")
    assert [one["run_status"] for one in mock.runs_of(job)] == ["STOPPED"]


def test_a_person_s_pauses_before_and_after_are_each_made_once(mock: MockYeedu) -> None:
    job = waiting_job(mock)
    reached: list[str] = []

    def with_approvals() -> None:
        suspend_flow_run(_sync=True)  # pyright: ignore[reportCallIssue]
        reached.append("approved")
        operator(mock, job, deferrable=True).execute()
        suspend_flow_run(_sync=True)  # pyright: ignore[reportCallIssue]
        reached.append("published")

    run = DeployedRun.of(with_approvals)
    states = [run.attempt()]
    for _ in range(2):
        run.resume()
        states.append(run.attempt())
        end_runs(mock, job)
    run.resume()
    states.append(run.attempt())
    assert states == ["Suspended", "Suspended", "Suspended", "Completed"]
    assert reached == ["approved", "approved", "approved", "published"]
    assert len(run_ids(mock, job)) == 1


# --- tasks and async code ---


def completes_with_one_run(mock: MockYeedu, job: int, run: DeployedRun) -> bool:
    """Run a flow run twice, between which the remote run ends."""
    assert run.attempt() == "Suspended"
    end_runs(mock, job)
    run.resume()
    assert run.attempt() == "Completed"
    return len(run_ids(mock, job)) == 1


def test_in_a_task_that_the_flow_calls(mock: MockYeedu, stored: YeeduCredentials) -> None:
    job = waiting_job(mock)
    ready = lambda: run_yeedu_job(mock.url(f"job/{job}"), stored, deferrable=True)  # noqa: E731
    assert completes_with_one_run(mock, job, DeployedRun.of(ready))


def test_in_a_task_of_one_s_own(mock: MockYeedu) -> None:
    job = waiting_job(mock)

    @task(retries=2)
    def load() -> int | None:
        return operator(mock, job, deferrable=True).execute().run_id

    assert completes_with_one_run(mock, job, DeployedRun.of(lambda: load()))


def test_in_async_code(mock: MockYeedu, stored: YeeduCredentials) -> None:
    job, other = waiting_job(mock), waiting_job(mock)

    async def nightly() -> None:
        await operator(mock, job, deferrable=True).aexecute()

    async def by_task() -> None:
        await arun_yeedu_job(mock.url(f"job/{other}"), stored, deferrable=True)

    assert completes_with_one_run(mock, job, DeployedRun.of(nightly))
    assert completes_with_one_run(mock, other, DeployedRun.of(by_task))


# --- where it waits in the ordinary way ---


def waits(run: DeployedRun, reason: str) -> bool:
    """Run a flow run to its end, and tell whether its log says why it was not suspended."""
    assert run.attempt() == "Completed"
    return any(f"deferrable has no effect on this call ({reason}" in line for line in run.log())


def slow_job(mock: MockYeedu) -> int:
    """Add a job that is not over at the first look."""
    return mock.control("POST", "jobs", json={"program": "import time; time.sleep(1)"})["job_id"]


def test_outside_of_a_deployment_it_waits(mock: MockYeedu, caplog: pytest.LogCaptureFixture) -> None:
    state = flow(lambda: operator(mock, slow_job(mock), deferrable=True).execute())(return_state=True)
    assert state.is_completed()
    assert "its flow run is not one of a deployment" in caplog.text


def test_a_notebook_is_waited_for(mock: MockYeedu) -> None:
    notebook = mock.control("POST", "notebooks", json={"cells": ["1"]})["notebook_id"]
    address = mock.url(f"notebook/{notebook}")
    ready = YeeduOperator(address, "yeedu_connection_details", "yeedu_password", deferrable=True)
    assert waits(DeployedRun.of(lambda: ready.execute()), "this process executes a notebook's cells")


def test_where_other_work_goes_on_beside_it_it_waits(mock: MockYeedu, stored: YeeduCredentials) -> None:
    address = mock.url(f"job/{slow_job(mock)}")

    async def gathered() -> None:
        await asyncio.gather(operator(mock, slow_job(mock), deferrable=True).aexecute())

    submitted = DeployedRun.of(lambda: run_yeedu_job.submit(address, stored, deferrable=True).result())
    assert waits(submitted, "other work goes on beside it")
    assert waits(DeployedRun.of(gathered), "other work goes on beside it")


def test_in_a_subflow_and_in_a_transaction_it_waits(
    mock: MockYeedu, caplog: pytest.LogCaptureFixture
) -> None:
    call = flow(lambda: operator(mock, slow_job(mock), deferrable=True).execute(), name="child")

    def in_a_transaction() -> None:
        with transaction():
            operator(mock, slow_job(mock), deferrable=True).execute()

    assert DeployedRun.of(lambda: call()).attempt() == "Completed"
    assert "Prefect cannot suspend a subflow" in caplog.text
    assert waits(DeployedRun.of(in_a_transaction), "it is made in a transaction")


def test_where_nobody_else_could_look_at_the_run_it_waits(mock: MockYeedu) -> None:
    address, who = mock.url(f"job/{slow_job(mock)}"), credentials(mock)
    run = DeployedRun.of(lambda: run_yeedu_job(address, who, deferrable=True))
    assert waits(run, "no block holds its credentials")


def test_with_further_clusters_it_waits(mock: MockYeedu) -> None:
    job = slow_job(mock)
    with mock.client("job/1") as client:
        made = client.call("POST", "cluster", "for a cluster", json={"name": f"further {job}"}).json()
    ready = DeployedRun.of(
        lambda: operator(mock, job, deferrable=True, cluster_ids=[made["cluster_id"]]).execute()
    )
    assert waits(ready, "it tries cluster_ids")


def test_a_prefect_server_that_refuses_has_it_wait(mock: MockYeedu, monkeypatch: pytest.MonkeyPatch) -> None:
    job = slow_job(mock)

    def refuse(_send: Callable[[], Any]) -> None:
        raise httpx.HTTPStatusError("no", request=httpx.Request("POST", "/"), response=httpx.Response(403))

    meet_suspension(monkeypatch, refuse)
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True).execute())
    assert waits(run, "The Prefect server answered 403 when asked to suspend this flow run")
