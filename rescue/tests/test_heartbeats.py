"""RUNNING runs whose heartbeats stop become CRASHED; everybody else is left alone."""

from typing import Any

import pytest


def test_silent_run_is_crashed_within_the_window_with_its_reason(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.beat(run_id)
    scene.pass_time(70, step_seconds=5)
    assert scene.state(run_id)["type"] == "RUNNING"
    scene.await_probe(run_id)
    scene.pass_time(30, step_seconds=5)
    state = scene.state(run_id)
    assert state["type"] == "CRASHED"
    assert state["message"].startswith("rescued: no heartbeat for ")


def test_run_that_beats_goes_on(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.pass_time(150, alive=[run_id])
    assert scene.state(run_id)["type"] == "RUNNING"


@pytest.mark.parametrize("clock_ahead_seconds", [300, -300])
def test_workers_clock_does_not_matter(scene: Any, clock_ahead_seconds: float) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.pass_time(40)
    scene.beat(run_id, clock_ahead_seconds=clock_ahead_seconds)
    scene.pass_time(70)
    assert scene.state(run_id)["type"] == "RUNNING"
    scene.await_probe(run_id)
    scene.pass_time(60)
    assert scene.state(run_id)["type"] == "CRASHED"


def test_time_between_two_starts_is_no_pause_between_heartbeats(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.beat(run_id, clock_ahead_seconds=-200)
    for state in ("CRASHED", "SCHEDULED", "PENDING", "RUNNING"):
        scene.set_state(run_id, state)
    scene.beat(run_id)
    scene.pass_time(70)
    scene.await_probe(run_id)
    scene.pass_time(40)
    assert scene.state(run_id)["type"] == "CRASHED"


def test_suspended_run_is_left_alone_and_is_not_silent_when_it_goes_on(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.beat(run_id)
    scene.set_state(run_id, "PAUSED")
    scene.pass_time(3600, step_seconds=60)
    assert scene.state(run_id)["type"] == "PAUSED"
    for state in ("SCHEDULED", "PENDING", "RUNNING"):
        scene.set_state(run_id, state)
    scene.pass_time(70)
    assert scene.state(run_id)["type"] == "RUNNING"


def test_run_that_is_crashed_by_mistake_keeps_its_end(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.beat(run_id)
    scene.pass_time(70)
    scene.await_probe(run_id)
    scene.pass_time(40)
    assert scene.state(run_id)["type"] == "CRASHED"
    assert scene.set_state(run_id, "COMPLETED")["status"] == "ACCEPT"
    scene.pass_time(60)
    assert scene.state(run_id)["type"] == "COMPLETED"


def test_silent_run_that_is_being_cancelled_is_cancelled(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING", "CANCELLING")
    scene.pass_time(70)
    assert scene.state(run_id)["type"] == "CANCELLING"
    scene.await_probe(run_id)
    scene.pass_time(40)
    assert scene.state(run_id)["type"] == "CANCELLED"


@pytest.mark.long
def test_run_from_elsewhere_may_beat_as_slowly_as_prefect_does(scene: Any) -> None:
    run_id = scene.run_without_deployment("RUNNING")
    scene.beat(run_id)
    scene.pass_time(500)
    assert scene.state(run_id)["type"] == "RUNNING"
    scene.pass_time(50)
    scene.await_probe(run_id)
    scene.pass_time(60)
    assert scene.state(run_id)["type"] == "CRASHED"


def test_slot_of_a_crashed_run_is_free_again(scene: Any) -> None:
    deployment = scene.deployment(limit=1)
    run_id = scene.run("PENDING", "RUNNING", deployment=deployment)
    scene.beat(run_id)
    waiting = scene.run(deployment=deployment)
    assert scene.set_state(waiting, "PENDING")["state"]["name"] == "AwaitingConcurrencySlot"
    scene.pass_time(70)
    scene.await_probe(run_id)
    scene.pass_time(40)
    assert scene.state(run_id)["type"] == "CRASHED"
    assert scene.set_state(waiting, "PENDING")["status"] == "ACCEPT"


def test_several_services_do_what_one_does(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING")
    scene.beat(run_id)
    second = scene.rescuer()
    second.run_once()
    for _ in range(7):
        scene.pass_time(10)
        second.run_once()
    scene.await_probe(run_id)
    for _ in range(5):
        scene.pass_time(10)
        second.run_once()
    assert scene.state(run_id)["type"] == "CRASHED"
    assert sum(message.startswith("rescued: ") for message in scene.messages(run_id)) == 1
