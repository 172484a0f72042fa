"""Calls in async code: which run an attempt finds again, alone and beside others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prefect import flow
from prefect_blocks import logs_of, operator

if TYPE_CHECKING:
    from mock_yeedu import MockYeedu

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def job(mock: MockYeedu) -> int:
    return mock.control("POST", "jobs", json={"program": "import sys; print(sys.argv[1])"})["job_id"]


def test_a_call_that_an_async_flow_awaits_is_found_again_whatever_it_passes(
    mock: MockYeedu, job: int
) -> None:
    outputs: list[str] = []

    @flow(retries=1)
    async def nightly() -> None:
        result = await operator(mock, job, arguments=f"attempt-{len(outputs) + 1}").aexecute()
        outputs.append(result.stdout)
        if len(outputs) == 1:
            raise ValueError("a later step failed")

    asyncio.run(nightly())  # pyright: ignore[reportUnknownArgumentType]
    assert outputs == ["attempt-1\n", "attempt-1\n"]
    assert len(mock.runs_of(job)) == 1


@pytest.mark.parametrize("is_async", [True, False])
def test_calls_that_are_gathered_are_found_by_what_they_pass(
    mock: MockYeedu, job: int, is_async: bool
) -> None:
    attempts: list[list[str]] = []

    async def gather() -> None:
        async def load(day: str, delay_seconds: float) -> str:
            await asyncio.sleep(delay_seconds)  # the other one calls first
            return (await operator(mock, job, arguments=day).aexecute()).stdout

        delays = (0.0, 3.0) if not attempts else (3.0, 0.0)
        attempts.append(await asyncio.gather(*map(load, ("1", "2"), delays)))
        if len(attempts) == 1:
            raise ValueError("a later step failed")

    @flow(retries=1)
    async def side_by_side() -> None:
        await gather()

    @flow(retries=1)
    def with_a_loop_of_its_own() -> None:
        asyncio.run(gather())

    if is_async:
        asyncio.run(side_by_side())  # pyright: ignore[reportUnknownArgumentType]
    else:
        with_a_loop_of_its_own()
    assert attempts == [["1\n", "2\n"]] * 2
    assert len(mock.runs_of(job)) == 2


def test_a_call_that_nobody_awaits_is_an_error_in_the_run_s_log(mock: MockYeedu, job: int) -> None:
    @flow
    async def forgetful() -> None:
        operator(mock, job, arguments="1").execute()

    state = asyncio.run(forgetful(return_state=True))  # pyright: ignore[reportUnknownArgumentType]
    assert any("execute() was called in async code without await" in line for line in logs_of(state))
    assert len(mock.runs_of(job)) == 0


def test_a_call_can_be_awaited_or_gathered_or_made_a_task(
    mock: MockYeedu, job: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def outputs() -> list[str]:
        first = asyncio.create_task(operator(mock, job, arguments="1").execute())  # pyright: ignore[reportArgumentType]
        results = await asyncio.gather(first, operator(mock, job, arguments="2").execute())  # pyright: ignore[reportArgumentType]
        results.append(await operator(mock, job, arguments="3").execute())  # pyright: ignore[reportGeneralTypeIssues]
        return [result.stdout for result in results]

    @flow
    async def caller() -> list[str]:
        return await outputs()

    assert asyncio.run(caller()) == ["1\n", "2\n", "3\n"]  # pyright: ignore[reportUnknownArgumentType]
    assert "without await" not in caplog.text
