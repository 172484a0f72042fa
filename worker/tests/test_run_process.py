"""A worker whose flow runs were taken for dead, and are started again here or elsewhere."""

import socket
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from prefect.states import AwaitingRetry, Running
from prefect.workers.process import ProcessWorker

from yeedu_worker.draining import DrainingWorker
from yeedu_worker.run_process import RunProcess


def test_runs_that_come_again_and_end_together_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = DrainingWorker(limit=2, work_pool_name="pool")
    due = [SimpleNamespace(flow_run=SimpleNamespace(id=uuid4())) for _ in range(2)]

    class EndingTogether(RunProcess):
        async def end(self) -> None:
            worker._processes.clear()

    async def stock(self: ProcessWorker) -> list[SimpleNamespace]:
        return due

    async def poll() -> list[Any]:
        worker._limiter = anyio.CapacityLimiter(2)
        worker._processes.update((entry.flow_run.id, EndingTogether()) for entry in due)
        return await worker._get_scheduled_flow_runs()

    monkeypatch.setattr(ProcessWorker, "_get_scheduled_flow_runs", stock)
    assert anyio.run(poll) == due


def test_two_polls_at_once_claim_each_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = DrainingWorker(limit=5, work_pool_name="pool")
    due = [SimpleNamespace(flow_run=SimpleNamespace(id=uuid4())) for _ in range(2)]
    claimed: list[UUID] = []

    class EndsSlowly(RunProcess):
        async def end(self) -> None:
            await anyio.sleep(0.05)

    async def stock(self: ProcessWorker) -> list[SimpleNamespace]:
        await anyio.sleep(0.01)
        return [entry for entry in due if entry.flow_run.id not in claimed]

    async def submit(self: ProcessWorker, flow_run_response: list[SimpleNamespace]) -> list[Any]:
        for entry in flow_run_response:  # as Prefect does
            worker.limiter.acquire_on_behalf_of_nowait(entry.flow_run.id)
            claimed.append(entry.flow_run.id)
        return []

    monkeypatch.setattr(ProcessWorker, "_get_scheduled_flow_runs", stock)
    monkeypatch.setattr(ProcessWorker, "_submit_scheduled_flow_runs", submit)

    async def poll_twice() -> None:
        worker._limiter = anyio.CapacityLimiter(5)
        worker._has_successfully_synced = True
        worker._processes[due[0].flow_run.id] = EndsSlowly()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.poll)
            group.start_soon(worker.poll)

    anyio.run(poll_twice)
    assert claimed == [entry.flow_run.id for entry in due]


def test_run_that_another_worker_took_meanwhile_is_ended_after_a_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = DrainingWorker(limit=5, work_pool_name="pool")
    ended: list[int] = []

    class Noted(RunProcess):
        async def end(self) -> None:
            ended.append(self.process_id)

    here = socket.gethostname()
    running, waiting = Running(), AwaitingRetry()
    known = [
        SimpleNamespace(infrastructure_pid=holder, state=state)
        for holder, state in (
            (f"{here}:7", running),
            (f"{here}:99", running),
            ("another-host:9", running),
            (None, running),
            (None, waiting),
        )
    ]
    flow_runs = {uuid4(): flow_run for flow_run in known}

    class Client:
        async def read_flow_run(self, flow_run_id: UUID) -> SimpleNamespace:
            return flow_runs[flow_run_id]

    async def stock(self: ProcessWorker) -> list[Any]:
        return []

    monkeypatch.setattr(ProcessWorker, "get_and_submit_flow_runs", stock)

    async def poll() -> None:
        run_processes = (Noted(process_id=number) for number in (7, 8, 9, 10, 11))
        worker._processes = dict(zip(flow_runs, run_processes, strict=True))
        await worker.poll()

    worker._client = Client()
    anyio.run(poll)
    assert ended == [], "a worker that hears from the server does not ask"
    worker._heard_at -= 31  # Prefect's client asked again meanwhile, and nobody was told of an outage
    anyio.run(poll)
    assert ended == [8, 9, 11]
    anyio.run(poll)
    assert ended == [8, 9, 11], "it is asked once"
