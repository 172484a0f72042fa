"""A parent that is tried again: its subflow finds the remote run that it started the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prefect import flow

from operators.yeedu import YeeduOperator
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


def operator(mock: MockYeedu, job: int) -> YeeduOperator:
    return YeeduOperator(mock.url(f"job/{job}"), "yeedu_connection_details", "yeedu_password")


def count_runs(mock: MockYeedu, job: int) -> int:
    with mock.client("job/1") as client:
        return len(
            client.get_object("workspace/1/spark/job/runs", "for runs", params={"job_ids": job})["data"]
        )


def test_a_subflow_that_lost_yeedu_waits_for_the_same_run_when_its_parent_is_retried(
    mock: MockYeedu, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([True])
    wait = JobRun.wait

    def lost(self: JobRun) -> YeeduResult:
        if next(losses, False):
            raise YeeduTransportError("Yeedu cannot be reached.")
        return wait(self)

    monkeypatch.setattr(JobRun, "wait", lost)

    @flow
    def child() -> str:
        return operator(mock, job).execute().stdout

    @flow(retries=1)
    def parent() -> str:
        return child()

    assert parent() == "slept\n"
    assert count_runs(mock, job) == 1


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
    assert count_runs(mock, job) == 1


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
    assert count_runs(mock, job) == 2
