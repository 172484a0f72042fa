"""A server that is away, and what it was not told meanwhile."""

import time
from typing import Any

import pytest


def test_outage_of_the_server_is_nobodys_fault(scene: Any, prefect: Any) -> None:
    running, pending = scene.run("PENDING", "RUNNING"), scene.run("PENDING")
    scene.beat(running)
    scene.pass_time(40)
    prefect.stop()
    for _ in range(8):
        scene.skip_time(25)
        scene.reconciler.run_once()
    assert "Connection refused" in scene.reconciler.failures[0]
    assert not scene.reconciler.is_working
    prefect.start()
    scene.pass_time(80)
    assert scene.state(running)["type"] == "RUNNING"
    assert scene.state(pending)["type"] == "PENDING"
    scene.await_probe(running)
    scene.pass_time(130)
    assert scene.state(running)["type"] == "CRASHED"
    assert scene.state(pending)["name"] == "AwaitingRetry"


def test_sleep_of_the_machine_is_nobodys_fault(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.beat(run_id)
    scene.pass_time(20)
    scene.skip_time(8 * 3600)
    scene.pass_time(80)
    assert scene.state(run_id)["type"] == "RUNNING"
    scene.await_probe(run_id)
    scene.pass_time(40)
    assert scene.state(run_id)["type"] == "CRASHED"


def test_events_that_do_not_come_through_are_nobodys_silence(scene: Any, caplog: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.beat(run_id)
    real_post = scene.watched.post

    def post(path: str, body: Any) -> Any:
        return None if path == "/events" else real_post(path, body)

    scene.watched.post = post
    scene.pass_time(200)
    assert scene.state(run_id)["type"] == "RUNNING"
    assert "the server's event stream is stuck" in caplog.text


@pytest.mark.long
def test_record_of_a_worker_that_is_long_offline_is_deleted(scene: Any) -> None:
    deployment = scene.server.get(f"/deployments/{scene.deployment()}")
    path = f"/work_pools/{deployment['work_pool_name']}/workers"
    scene.server.post(f"{path}/heartbeat", {"name": "gone for good", "heartbeat_interval_seconds": 1})

    def names(status: str) -> list[str]:
        workers = scene.server.post(f"{path}/filter", {})
        return [worker["name"] for worker in workers if worker["status"] == status]

    deadline = time.monotonic() + 60
    while not names("OFFLINE"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    scene.skip_time(80000)
    scene.pass_time(100)
    assert names("OFFLINE") == ["gone for good"]
    scene.skip_time(10000)
    scene.pass_time(100)  # after a break the workers get a minute to come back
    assert names("OFFLINE") == names("ONLINE") == []
