"""Runs that were claimed and never started go back to their queue."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

QUEUED = "rescued: put back to its queue, "


def test_run_that_stays_pending_goes_back_to_its_queue_and_crashes_in_the_end(scene: Any) -> None:
    run_id = scene.run("PENDING")
    for attempt in (1, 2, 3):
        scene.pass_time(150)
        assert scene.state(run_id)["type"] == "PENDING"
        scene.pass_time(40)
        state = scene.state(run_id)
        assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry")
        assert state["message"].startswith(f"{QUEUED}{attempt} of 3: Pending for 1")
        assert scene.set_state(run_id, "PENDING")["status"] == "ACCEPT", "a worker takes it again"
    scene.pass_time(190)
    state = scene.state(run_id)
    assert state["type"] == "CRASHED"
    assert state["message"].endswith("as 3 times before")


def test_cancelling_a_run_that_was_put_back_waits_for_no_worker(scene: Any) -> None:
    run_id = scene.run("PENDING")
    scene.server.patch(f"/flow_runs/{run_id}", {"infrastructure_pid": "4711"})
    scene.pass_time(190)
    assert scene.state(run_id)["name"] == "AwaitingRetry"
    scene.set_state(run_id, "CANCELLING")
    assert scene.state(run_id)["type"] == "CANCELLED"


def test_slot_of_a_run_that_never_started_is_free_again(scene: Any) -> None:
    deployment = scene.deployment(limit=1)
    run_id = scene.run("PENDING", deployment=deployment)
    scene.pass_time(190)
    assert scene.state(run_id)["name"] == "AwaitingRetry"
    waiting = scene.run(deployment=deployment)
    assert scene.set_state(waiting, "PENDING")["status"] == "ACCEPT"


def test_run_without_a_queue_crashes_after_a_longer_time(scene: Any) -> None:
    scene.settings = replace(scene.settings, pending_seconds=20)
    scene.reconciler = scene.rescuer()
    run_id = scene.run_without_deployment()
    scene.pass_time(180)
    assert scene.state(run_id)["type"] == "PENDING"
    scene.pass_time(40)
    assert scene.state(run_id)["type"] == "CRASHED"


def test_retry_that_its_process_did_not_outlive_crashes(scene: Any) -> None:
    deployment = scene.deployment()
    body = {"state": {"type": "SCHEDULED"}, "empirical_policy": {"retries": 1, "retry_delay": 5}}
    run_id = scene.server.post(f"/deployments/{deployment}/create_flow_run", body)["id"]
    scene.claim(run_id, "ours")
    for state in ("PENDING", "RUNNING", "FAILED"):
        scene.set_state(run_id, state)
    assert scene.state(run_id)["name"] == "AwaitingRetry"
    scene.pass_time(210)
    state = scene.state(run_id)
    assert state["type"] == "CRASHED"
    assert "so the process that ran it is gone" in state["message"]


def test_run_that_is_due_later_is_left_alone(scene: Any) -> None:
    due = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": due}}}
    run_id = scene.server.post(f"/deployments/{scene.deployment()}/create_flow_run", body)["id"]
    scene.pass_time(400)
    assert scene.state(run_id)["name"] == "Scheduled"
