"""A worker of some queues deals with those, and with nothing else of its pool."""

from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_processes import OURS, PrefectServer, commit, worker

from tests.platforms import wait_for
from yeedu_worker import left_runs

pytestmark = pytest.mark.long

FLOW = """
import os
from prefect import flow

@flow(log_prints=True)
def say():
    print("ran on", os.environ["WORKER_NAME"])
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("queues")
    commit(folder, {"say.py": FLOW})
    return folder.as_uri()


def queue_names(server: PrefectServer, pool: str) -> set[str]:
    return {queue["name"] for queue in server.api.post(f"work_pools/{pool}/queues/filter")}


def test_two_workers_share_a_pool_and_each_runs_what_is_in_its_own_queues(
    server: PrefectServer, repository: str, tmp_path: Path
) -> None:
    """Their regular polls are an hour away: each hears of its own queues' triggers, or runs nothing."""
    server.make_pool("shared", OURS)
    far = {"PREFECT_WORKER_QUERY_SECONDS": "3600"}
    stage = {"WORKER_NAME": "stage", "WORKER_QUEUES": "staging,night"}
    prod = {"WORKER_NAME": "prod", "WORKER_QUEUES": "default"}
    with (
        worker(server, "shared", tmp_path / "stage", **far, **stage) as of_staging,
        worker(server, "shared", tmp_path / "prod", **far, **prod) as of_production,
    ):
        assert queue_names(server, "shared") == {"default", "staging", "night"}, "missing ones are made"
        deployments = {
            name: server.deploy(name, "say.py:say", repository, work_pool_name="shared", **queue)
            for name, queue in (
                ("for-production", {}),
                ("for-staging", {"work_queue_name": "staging"}),
                ("at-night", {"work_queue_name": "night"}),
                ("for-nobody", {"work_queue_name": "other"}),
            )
        }
        for running in (of_staging, of_production):
            running.await_log("following triggers")
        left = server.start_run(deployments["for-nobody"])
        for name, where in (("for-staging", "stage"), ("for-production", "prod"), ("at-night", "stage")):
            run = server.start_run(deployments[name])
            assert server.await_state(run)["state_type"] == "COMPLETED"
            server.api.log_with(run, f"ran on {where}")
        assert server.state(left) == "SCHEDULED"
        for running in (of_staging, of_production):
            assert "for-nobody" not in running.log
            folders = running.temporary
            wait_for("removal of the runs' folders", lambda at=folders: not list(at.glob("*prefect")), 60)


def subflow_of(server: PrefectServer, flow_run: str) -> str:
    """Return a subflow of a flow run, as one that its process starts itself."""
    call = server.api.post("task_runs/", {"flow_run_id": flow_run, "task_key": "child", "dynamic_key": "0"})
    flow = server.api.post("flows/", {"name": "child"})
    return server.api.post("flow_runs/", {"flow_id": flow["id"], "parent_task_run_id": call["id"]})["id"]


def test_what_ended_runs_left_behind_is_looked_for_in_the_own_queues(
    server: PrefectServer, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_runs, "_AGES", dict.fromkeys(left_runs._AGES, timedelta()))  # of their end
    server.make_pool("left", OURS)
    found: dict[str, str] = {}
    for queue in ("default", "staging"):
        deployment = server.deploy(
            queue, "say.py:say", repository, work_pool_name="left", work_queue_name=queue
        )
        run = found[queue] = server.start_run(deployment)
        # The one queue's run has left a remote run behind itself, the other's has a subflow that did.
        owner = run if queue == "default" else subflow_of(server, run)
        for flow_run, key, fields in (
            (owner, "yeedu-job-5", {"run_id": "17", "phase": "running"}),
            (run, "yeedu-job-6", {"run_id": "18", "phase": "ended"}),
            (run, "yeedu-cluster-of-job-5", {"own_cluster": "1"}),
        ):
            record = {"key": key, "type": "markdown", "flow_run_id": flow_run, "metadata_": fields}
            server.api.post("artifacts/", record)
        server.api.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}, "force": True})

    async def look(*queues: str) -> list[str]:
        async with get_client() as client:
            return [str(run) for run in await left_runs.LeftRuns("left", queues)._find(client)]

    with temporary_settings({PREFECT_API_URL: server.url}):
        assert anyio.run(look, "staging") == [found["staging"]]
        assert sorted(anyio.run(look)) == sorted(found.values())
