"""A triggered flow run starts without waiting for the worker's next regular poll."""

from pathlib import Path

import pytest
from prefect_processes import OURS, PrefectServer, commit, worker

from tests.platforms import wait_for

pytestmark = pytest.mark.long

FLOW = """
from prefect import flow

@flow
def quick():
    pass
"""


@pytest.mark.parametrize("limit", ["10", "1"])
def test_triggered_runs_do_not_wait_for_a_poll_that_is_an_hour_away(
    server: PrefectServer, tmp_path: Path, limit: str
) -> None:
    repository = tmp_path / "repository"
    commit(repository, {"quick.py": FLOW})
    pool = f"triggers-{limit}"
    server.make_pool(pool, OURS)
    deployment = server.deploy("quick", "quick.py:quick", repository.as_uri(), work_pool_name=pool)
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "3600", "WORKER_LIMIT": limit}
    with worker(server, pool, tmp_path / "worker", **settings) as started:
        started.await_log("following triggers")
        runs = [server.start_run(deployment) for _ in range(3)]
        for run in runs:
            assert server.await_state(run)["state_type"] == "COMPLETED"
        wait_for("removal of the runs' folders", lambda: not list(started.temporary.glob("*prefect")), 60)
