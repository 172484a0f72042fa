"""CRASHED runs start again where a tag asks for it."""

from typing import Any

import pytest

from yeedu_rescue.rules.restart_crashed import wanted_times


@pytest.mark.parametrize(
    ("tags", "times"),
    [
        ([], 0),
        (["yeedu"], 0),
        (["retry-crashed"], 3),
        (["yeedu", "retry-crashed:5"], 5),
        (["retry-crashed:0"], 0),
        (["retry-crashed:"], 0),
        (["retry-crashed:many"], 0),
        (["do-not-retry-crashed"], 0),
    ],
)
def test_tag_says_how_often(tags: list[str], times: int) -> None:
    assert wanted_times(tags) == times


def test_crashed_run_starts_again_as_often_as_its_tag_says(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING", "CRASHED", tags=("retry-crashed:2",))
    for attempt in (1, 2):
        scene.pass_time(10)
        state = scene.state(run_id)
        assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry")
        assert state["message"].startswith(f"rescued: started again, {attempt} of 2: ")
        for step in ("PENDING", "RUNNING", "CRASHED"):
            scene.set_state(run_id, step)
    scene.pass_time(100)
    assert scene.state(run_id)["type"] == "CRASHED"


def test_reason_of_the_crash_stays_in_the_history(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING", tags=("retry-crashed",))
    body = {"state": {"type": "CRASHED", "message": "exit code 137"}}
    scene.server.post(f"/flow_runs/{run_id}/set_state", body)
    scene.pass_time(10)
    assert scene.state(run_id)["message"] == "rescued: started again, 1 of 3: exit code 137"


def test_crashed_run_without_the_tag_stays_as_it_is(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING", "CRASHED", tags=("yeedu",))
    scene.pass_time(60)
    assert scene.state(run_id)["type"] == "CRASHED"


def test_failed_run_is_not_a_crashed_one(scene: Any) -> None:
    run_id = scene.run("PENDING", "RUNNING", "FAILED", tags=("retry-crashed",))
    scene.pass_time(60)
    assert scene.state(run_id)["type"] == "FAILED"
