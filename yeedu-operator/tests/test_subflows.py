"""A parent that is tried again: its subflow finds the remote run that it started the first time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from prefect import flow, task
from prefect_blocks import operator

from prefect_yeedu import YeeduTransportError
from prefect_yeedu.runs.job_run import JobRun

if TYPE_CHECKING:
    from mock_yeedu import MockYeedu

    from prefect_yeedu.models import YeeduResult

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def job(mock: MockYeedu) -> int:
    program = "import time; time.sleep(1); print('slept')"
    return mock.control("POST", "jobs", json={"program": program})["job_id"]


def test_a_subflow_that_lost_yeedu_waits_for_the_same_run_when_its_parent_is_retried(
    mock: MockYeedu, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([True])
    wait = JobRun.wait

    def lost(self: JobRun, ends_at: float | None = None) -> YeeduResult:
        if next(losses, False):
            raise YeeduTransportError("Yeedu cannot be reached.")
        return wait(self, ends_at)

    monkeypatch.setattr(JobRun, "wait", lost)

    @flow
    def child() -> str:
        return operator(mock, job).execute().stdout

    @flow(retries=1)
    def parent() -> str:
        return child()

    assert parent() == "slept\n"
    assert len(mock.runs_of(job)) == 1


def test_a_parent_that_fails_later_does_not_run_its_subflow_s_job_again(mock: MockYeedu, job: int) -> None:
    failures = iter([True])
    outputs: list[str] = []

    @flow
    def child() -> str:
        return operator(mock, job).execute().stdout

    @flow
    def parent() -> str:
        return child()

    @flow(retries=1)
    def grandparent() -> None:
        outputs.append(parent())
        if next(failures, False):
            raise ValueError("a later step failed")

    grandparent()
    assert outputs == ["slept\n", "slept\n"]
    assert len(mock.runs_of(job)) == 1


def test_equal_subflows_of_one_parent_are_different_runs(mock: MockYeedu, job: int) -> None:
    @flow
    def child() -> str:
        return operator(mock, job).execute().stdout

    failures = iter([True])

    @flow(retries=1)
    def parent() -> None:
        child()
        child()
        if next(failures, False):
            raise ValueError("a later step failed")

    parent()
    assert len(mock.runs_of(job)) == 2


def test_subflows_in_tasks_find_their_runs_in_whatever_order_they_come(mock: MockYeedu) -> None:
    job = mock.control("POST", "jobs", json={"program": "import sys; print(sys.argv[1])"})["job_id"]
    attempts: list[list[str]] = []

    @flow
    def child(day: str) -> str:
        return operator(mock, job, arguments=day).execute().stdout

    @task
    def load(day: str, delay_seconds: float) -> str:
        time.sleep(delay_seconds)  # the other one calls its subflow first
        return child(day)

    @flow(retries=1)
    def parent() -> None:
        delays = (0.0, 3.0) if not attempts else (3.0, 0.0)
        futures = [load.submit(day, delay) for day, delay in zip(("1", "2"), delays, strict=True)]
        results = [future.result() for future in futures]
        attempts.append([*results, load("3", 0.0), load("3", 0.0)])
        if len(attempts) == 1:
            raise ValueError("a later step failed")

    parent()
    assert attempts == [["1\n", "2\n", "3\n", "3\n"]] * 2
    assert len(mock.runs_of(job)) == 4


def test_a_task_that_is_tried_again_finds_the_runs_of_its_subflows(mock: MockYeedu, job: int) -> None:
    failures = iter([True])

    @flow
    def child() -> str:
        return operator(mock, job).execute().stdout

    @task(retries=1)
    def load() -> None:
        child()
        child()
        if next(failures, False):
            raise ValueError("a later step failed")

    @flow
    def parent() -> None:
        load()

    parent()
    assert len(mock.runs_of(job)) == 2
