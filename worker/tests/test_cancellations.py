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
