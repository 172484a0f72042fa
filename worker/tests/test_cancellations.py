"""Cancellations reach the flow runs that are watched, also those that nobody could hear of at the time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from anyio.to_thread import run_sync
from prefect.runner import _flow_run_executor
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_processes import PrefectServer

from tests.prefect_process import PrefectProcess
from yeedu_worker.patches import cancellations
from yeedu_worker.patches.cancellations import Cancellations


def running_flow_run(server: PrefectServer) -> UUID:
    flow = server.api.post("flows/", {"name": "any"})["id"]
    body = {"flow_id": flow, "state": {"type": "RUNNING"}}
    return UUID(server.api.post("flow_runs/", body)["id"])


@asynccontextmanager
async def following(told: list[UUID], *watched: UUID) -> AsyncIterator[Callable[[UUID], None]]:
    """Follow cancellations as the worker does, and watch as Prefect does; yield how to watch another run."""
    observer = _flow_run_executor.FlowRunCancellingObserver(on_cancelling=told.append)
    async with observer, anyio.create_task_group() as group:
        for flow_run in watched:
            observer.add_in_flight_flow_run_id(flow_run)
        group.start_soon(CANCELLATIONS.follow)
        yield observer.add_in_flight_flow_run_id
        group.cancel_scope.cancel()


async def until(told: list[UUID], flow_run: UUID) -> None:
    with anyio.fail_after(60):
        while flow_run not in told:
            await anyio.sleep(0.05)


CANCELLATIONS = Cancellations()


@pytest.fixture(autouse=True)
def observers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use them in this process, for one test."""
    for name in ("FlowRunCancellingObserver", "EventEmitter"):
        monkeypatch.setattr(_flow_run_executor, name, getattr(_flow_run_executor, name))
    CANCELLATIONS.replace_observers()


def test_watched_flow_runs_are_told_once(server: PrefectServer) -> None:
    earlier, later, unwatched = (running_flow_run(server) for _ in range(3))
    told: list[UUID] = []

    async def scenario() -> None:
        async with following(told, earlier) as watch:
            await until(told, earlier)
            watch(later)
            await run_sync(server.cancel, str(unwatched))
            await run_sync(server.cancel, str(later))
            await until(told, later)

    server.cancel(str(earlier))
    with temporary_settings({PREFECT_API_URL: server.url}):
        anyio.run(scenario)
    assert told == [earlier, later]


def test_who_cannot_be_told_is_in_no_other_ones_way_and_is_told_when_the_server_is_asked_again(
    server: PrefectServer,
) -> None:
    one, other, later, deaf = sorted(running_flow_run(server) for _ in range(4))  # the last is told first
    told: list[UUID] = []
    refused: list[UUID] = []
    is_deaf = True

    def listen(flow_run: UUID) -> None:
        if is_deaf:
            refused.append(flow_run)
            raise RuntimeError("this task group is not active")
        told.append(flow_run)

    async def scenario() -> None:
        nonlocal is_deaf
        observer = _flow_run_executor.FlowRunCancellingObserver(on_cancelling=listen)
        async with observer:
            observer.add_in_flight_flow_run_id(deaf)
            async with following(told, one, other, later):
                await until(told, one)
                await until(told, other)
                assert set(refused) == {deaf}  # which was asked again, where its event came late
                await run_sync(server.cancel, str(later))
                await until(told, later)
            is_deaf = False
            async with following(told):
                await until(told, deaf)

    for flow_run in (one, deaf, other):
        server.cancel(str(flow_run))
    with temporary_settings({PREFECT_API_URL: server.url}):
        anyio.run(scenario)
    assert sorted(told) == sorted([one, deaf, other, later])


def test_run_whose_observer_has_gone_is_not_watched_any_more(server: PrefectServer) -> None:
    """Where the worker itself ends an attempt, Prefect does not take the run away from its observer."""
    killed, again, other = (running_flow_run(server) for _ in range(3))
    told: list[UUID] = []
    told_too_late: list[UUID] = []

    async def scenario() -> None:
        observer = _flow_run_executor.FlowRunCancellingObserver(on_cancelling=told_too_late.append)
        async with observer:
            observer.add_in_flight_flow_run_id(killed)
            observer.add_in_flight_flow_run_id(again)
            # A later attempt, on the same worker, watches with an observer of its own.
            next_one = _flow_run_executor.FlowRunCancellingObserver(on_cancelling=told.append)
            next_one.add_in_flight_flow_run_id(again)
        async with next_one, following(told, other):
            await until(told, other)
            await until(told, again)

    for flow_run in (killed, again, other):
        server.cancel(str(flow_run))
    with temporary_settings({PREFECT_API_URL: server.url}):
        anyio.run(scenario)
    assert told_too_late == []


@pytest.mark.long
@pytest.mark.timeout(400)
def test_server_that_comes_back_is_asked_what_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellations, "_PAUSE_SECONDS", 0.2)
    process = PrefectProcess(tmp_path)
    process.start()
    server = PrefectServer(process.url, tmp_path)
    before, after = running_flow_run(server), running_flow_run(server)
    told: list[UUID] = []

    async def scenario() -> None:
        async with following(told, before, after):
            await run_sync(server.cancel, str(before))
            await until(told, before)
            await run_sync(process.stop)
            await run_sync(process.start)
            await run_sync(server.cancel, str(after))
            await until(told, after)

    try:
        with temporary_settings({PREFECT_API_URL: server.url}):
            anyio.run(scenario)
    finally:
        process.stop()
    assert told == [before, after]
