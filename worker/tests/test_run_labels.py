"""What a worker writes on the runs that it takes."""

import uuid
from typing import Any

import pytest
from prefect.client.schemas.objects import WorkPool
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from yeedu_worker.draining import DrainingWorker
from yeedu_worker.run_labels import HEARTBEAT_LABEL, WORKER_LABEL, labels_of


@pytest.fixture
def worker() -> DrainingWorker:
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
    worker: DrainingWorker, environment: dict[str, str], seconds: int
) -> None:
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}):
        labels = labels_of(worker, environment)
    assert labels[WORKER_LABEL] == labels["prefect.worker.name"] == "linux-worker"
    assert labels[HEARTBEAT_LABEL] == seconds
    assert labels["prefect.work-pool.name"] == "yeedu-pool"


def test_run_that_sends_no_heartbeats_is_not_said_to(worker: DrainingWorker) -> None:
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        assert WORKER_LABEL not in labels_of(worker, {})
