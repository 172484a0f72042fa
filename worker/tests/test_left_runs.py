"""What ended flow runs left behind is looked for among all of them, however many there are."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import anyio
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_processes import PrefectServer

from yeedu_worker import left_runs


def test_run_is_found_behind_a_catch_up_and_behind_many_others(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended first of all, so it comes last; and what it left is a subflow's, one of many."""
    monkeypatch.setattr(left_runs, "_AGES", dict.fromkeys(left_runs._AGES, timedelta()))  # of their end
    monkeypatch.setattr(left_runs, "_PAGE", 3)
    server.api.post("work_pools/", {"name": "caught-up", "type": "process", "base_job_template": {}})
    flow = server.api.post("flows/", {"name": "caught-up"})["id"]
    body = {"name": "caught-up", "flow_id": flow, "work_pool_name": "caught-up"}
    path = f"deployments/{server.api.post('deployments/', body)['id']}/create_flow_run"

    def cancelled(name: str) -> str:
        run = server.api.post(path, {"state": {"type": "SCHEDULED"}})["id"]
        state = {"state": {"type": "CANCELLED", "name": name}, "force": True}
        server.api.post(f"flow_runs/{run}/set_state", state)
        return run

    left = cancelled("Cancelled")
    call = server.api.post("task_runs/", {"flow_run_id": left, "task_key": "child", "dynamic_key": "0"})
    subflow = {"flow_id": flow, "parent_task_run_id": call["id"]}
    subflows = [server.api.post("flow_runs/", subflow)["id"] for _ in range(5)]
    for owner in subflows:
        record = {"key": "yeedu-job-5", "type": "markdown", "flow_run_id": owner}
        server.api.post("artifacts/", {**record, "metadata_": {"phase": "ended"}})
    record = {"key": "yeedu-job-6", "type": "markdown", "flow_run_id": subflows[0]}
    server.api.post("artifacts/", {**record, "metadata_": {"run_id": "17", "phase": "running"}})
    with ThreadPoolExecutor(4) as others:
        list(others.map(cancelled, ["Skipped"] * 8 + ["Cancelled"] * 4))
    read: list[int] = []

    async def look() -> list[str]:
        async with get_client() as client:
            stock = client.read_flow_runs

            async def read_flow_runs(**wanted: object) -> object:
                found = await stock(**wanted)
                read.append(len(found))
                return found

            monkeypatch.setattr(client, "read_flow_runs", read_flow_runs)
            return [str(run) for run in await left_runs.LeftRuns("caught-up")._find(client)]

    with temporary_settings({PREFECT_API_URL: server.url}):
        assert anyio.run(look) == [left]
    assert sum(read) == 5 + 5, "those that catch-up skipped are not read at all"
