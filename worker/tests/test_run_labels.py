"""What a worker writes on the runs that it takes, and what the rescue service reads of it."""

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import WorkPool
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect_processes import OURS, PrefectServer, commit, worker

from tests.platforms import wait_for
from yeedu_rescue.flow_runs import find
from yeedu_rescue.server import Server
from yeedu_rescue.workers import Workers
from yeedu_worker.draining import DrainingWorker
from yeedu_worker.run_labels import HEARTBEAT_LABEL, WORKER_LABEL, labels_of

FLOW = """
from prefect import flow

@flow
def say():
    pass
"""


@pytest.fixture
def draining() -> DrainingWorker:
    worker: Any = DrainingWorker(name="linux-worker", work_pool_name="yeedu-pool", limit=1)
    worker._work_pool = WorkPool(name="yeedu-pool", type="process", default_queue_id=uuid.uuid4())
    return worker


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 30),
        ({"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "600"}, 600),
        ({"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": ""}, 30),
    ],
)
def test_labels_tell_the_worker_and_how_often_the_run_beats(
    draining: DrainingWorker, environment: dict[str, str], seconds: int
) -> None:
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}):
        labels = labels_of(draining, environment)
    assert labels[WORKER_LABEL] == labels["prefect.worker.name"] == "linux-worker"
    assert labels[HEARTBEAT_LABEL] == seconds
    assert labels["prefect.work-pool.name"] == "yeedu-pool"


def test_run_that_sends_no_heartbeats_is_not_said_to(draining: DrainingWorker) -> None:
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        assert WORKER_LABEL not in labels_of(draining, {})


@pytest.mark.long
def test_rescue_service_knows_the_run_as_ours_and_sees_when_its_worker_starts_anew(
    server: PrefectServer, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    commit(repository, {"say.py": FLOW})
    server.make_pool("labelled", OURS)
    deployment = server.deploy("labelled", "say.py:say", repository.as_uri(), work_pool_name="labelled")
    service = Server(server.url)
    started = {"event": {"name": ["prefect.worker.started"]}}
    with worker(server, "labelled", tmp_path / "first", WORKER_NAME="linux-worker") as first:
        run_id = server.start_run(deployment)
        assert server.await_state(run_id)["state_type"] == "COMPLETED"
        [run] = [one for one in find(service, {}) if one.id == run_id]
        assert (run.is_ours, run.worker, run.work_pool) == (True, "linux-worker", "labelled")
        workers = Workers(service, time.monotonic)
        wait_for("word of the worker's start", lambda: service.events(started, 1), 60)
        assert not workers.is_gone(run)
        first.process.kill()
    with worker(server, "labelled", tmp_path / "second", WORKER_NAME="linux-worker") as second:
        wait_for("word of its next start", lambda: workers.is_gone(run), 60)
        second.process.kill()
