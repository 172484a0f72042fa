"""Whatever is wrong: a run whose worker was killed is dealt with in time, and nobody else is touched."""

import time
from threading import Event, Thread
from typing import Any

import pytest

from yeedu_rescue.errors import LoginRefused
from yeedu_rescue.reconciler import Reconciler
from yeedu_rescue.server import Server
from yeedu_rescue.settings import Settings

IN_TIME = 120
OTHER = "another team's"


@pytest.fixture
def killed(hindered: Any) -> str:
    """A run that beats for the last time now."""
    run_id = hindered.run("PENDING", "RUNNING")
    hindered.beat(run_id)
    return run_id


@pytest.fixture
def alive(hindered: Any) -> str:
    """A run that goes on."""
    run_id = hindered.run("PENDING", "RUNNING")
    hindered.beat(run_id)
    return run_id


def test_run_that_the_server_refuses_to_change_keeps_nobody_else(
    hindered: Any, obstacles: Any, killed: str, alive: str
) -> None:
    poisoned = hindered.run("PENDING", "RUNNING", "CRASHED", tags=("retry-crashed",))
    obstacles.answers[f"{poisoned}/set_state"] = 500
    hindered.pass_time(IN_TIME, step_seconds=5, alive=[alive], has_trouble=True)
    assert hindered.state(killed)["type"] == "CRASHED"
    assert hindered.state(alive)["type"] == "RUNNING"
    [trouble] = hindered.reconciler.failures
    assert poisoned in trouble
    assert trouble.endswith("/set_state: 500")
    assert hindered.reconciler.is_working
    asked = obstacles.count("set_state") / 4  # the server may be busy, so it is asked four times at once
    assert 3 <= asked <= 6, "tried less often each time"
    obstacles.answers.clear()
    hindered.pass_time(IN_TIME, alive=[alive], has_trouble=True)
    assert hindered.state(poisoned)["name"] == "AwaitingRetry"
    assert hindered.reconciler.failures == []


def test_silent_run_that_the_server_refuses_to_change_keeps_nobody_else(
    hindered: Any, obstacles: Any, killed: str, alive: str
) -> None:
    poisoned = hindered.run("PENDING", "RUNNING")
    hindered.beat(poisoned)
    obstacles.answers[f"{poisoned}/set_state"] = 409
    hindered.pass_time(IN_TIME, step_seconds=5, alive=[alive], has_trouble=True)
    assert hindered.state(killed)["type"] == "CRASHED"
    assert hindered.state(alive)["type"] == hindered.state(poisoned)["type"] == "RUNNING"
    assert len(hindered.reconciler.failures) == 1


@pytest.mark.parametrize("status", [500, 403])
def test_rule_that_always_fails_keeps_no_other_rule(
    hindered: Any, obstacles: Any, killed: str, alive: str, status: int
) -> None:
    obstacles.answers["POST /api/work_pools/filter"] = status  # without which no worker's record is found
    hindered.pass_time(IN_TIME, step_seconds=5, alive=[alive], has_trouble=True)
    assert hindered.state(killed)["type"] == "CRASHED"
    assert hindered.state(alive)["type"] == "RUNNING"
    [trouble] = hindered.reconciler.failures
    assert f"/work_pools/filter: {status}" in trouble
    assert not hindered.reconciler.is_working
    obstacles.answers.clear()
    hindered.pass_time(120, alive=[alive], has_trouble=True)
    assert hindered.reconciler.is_working


def test_answer_that_is_no_answer_of_prefects_is_the_trouble_of_its_rule_alone(
    hindered: Any, obstacles: Any, killed: str, alive: str
) -> None:
    obstacles.answers["POST /api/work_pools/filter"] = 200  # with a pool that has no name
    hindered.pass_time(IN_TIME, step_seconds=5, alive=[alive], has_trouble=True)
    assert hindered.state(killed)["type"] == "CRASHED"
    assert hindered.state(alive)["type"] == "RUNNING"
    assert not hindered.reconciler.is_working


def test_one_lost_answer_now_and_then_starts_no_clock_anew(
    hindered: Any, obstacles: Any, killed: str, alive: str, caplog: Any
) -> None:
    hindered.reconciler.run_once()
    for _ in range(IN_TIME // 10):
        obstacles.answers["POST /api/flow_runs/filter"] = 500
        hindered.pass_time(5, step_seconds=5, alive=[alive], beats_seconds=5, has_trouble=True)
        obstacles.answers.clear()
        hindered.pass_time(5, step_seconds=5, alive=[alive], beats_seconds=5, has_trouble=True)
    assert hindered.state(killed)["type"] == "CRASHED"
    assert hindered.state(alive)["type"] == "RUNNING"
    assert "timeouts" not in caplog.text


def test_server_that_falls_down_over_and_over_keeps_no_dead_run(
    hindered: Any, obstacles: Any, killed: str, alive: str
) -> None:
    """Ten seconds up, five away, for as long as it takes."""
    began = hindered.elapsed_seconds
    while hindered.state(killed)["type"] == "RUNNING":
        assert hindered.elapsed_seconds - began < 3 * IN_TIME
        hindered.pass_time(10, step_seconds=5, alive=[alive], beats_seconds=10, has_trouble=True)
        obstacles.is_away = True
        hindered.skip_time(5)
        hindered.reconciler.run_once()
        assert not hindered.reconciler.is_working
        obstacles.is_away = False
    assert hindered.state(killed)["type"] == "CRASHED"
    assert hindered.state(alive)["type"] == "RUNNING"


def test_refused_login_ends_the_service_and_the_next_one_does_its_work(
    hindered: Any, obstacles: Any, killed: str, alive: str
) -> None:
    wrong = Reconciler(Server(obstacles.url, "admin:wrong"), Settings(obstacles.url), hindered.clock)
    with pytest.raises(LoginRefused, match="check PREFECT_API_AUTH_STRING or its file") as refused:
        wrong.run_once()
    assert "wrong" not in str(refused.value)
    assert not wrong.is_working
    hindered.pass_time(IN_TIME, step_seconds=5, alive=[alive])
    assert hindered.state(killed)["type"] == "CRASHED"
    assert hindered.state(alive)["type"] == "RUNNING"


def test_runs_of_other_workers_beat_as_slowly_as_they_like(hindered: Any, killed: str) -> None:
    slow = hindered.run("PENDING", "RUNNING", worker=OTHER)
    slower = hindered.run("PENDING", "RUNNING", worker=OTHER, pool_type="kubernetes")
    mute = hindered.run("PENDING", "RUNNING", worker=OTHER, pool_type="docker")
    hindered.beat(slow)
    hindered.beat(slower, clock_ahead_seconds=-600)  # ten minutes before the next
    hindered.beat(slower)
    hindered.pass_time(IN_TIME, step_seconds=5)
    assert hindered.state(killed)["type"] == "CRASHED"
    hindered.pass_time(60)
    for _ in range(3):
        hindered.beat(slow)
        hindered.pass_time(180)
    for run_id in (slow, slower, mute):
        assert hindered.state(run_id)["type"] == "RUNNING"
    hindered.beat(slower)
    hindered.pass_time(600)
    for run_id in (slower, mute):
        assert hindered.state(run_id)["type"] == "RUNNING"
    assert hindered.state(slow)["type"] == "CRASHED", "it has been silent for longer than three of its pauses"


def test_dead_run_of_another_worker_is_noticed_by_its_own_pause(hindered: Any) -> None:
    run_id = hindered.run("PENDING", "RUNNING", worker=OTHER)
    hindered.beat(run_id, clock_ahead_seconds=-180)
    hindered.beat(run_id)
    hindered.pass_time(380)
    hindered.await_probe(run_id)
    hindered.pass_time(140)
    assert hindered.state(run_id)["type"] == "RUNNING"
    hindered.pass_time(60)
    assert hindered.state(run_id)["type"] == "CRASHED"


@pytest.mark.parametrize("evidence", ["none", "started anew"])
def test_run_that_never_beat_is_dead_once_its_worker_is_gone(hindered: Any, evidence: str) -> None:
    run_id = hindered.run("PENDING", "RUNNING")
    hindered.start_worker(hindered.run("PENDING"), "ours")  # of another pool, and so another one
    hindered.note_worker(run_id, "ours")
    if evidence == "started anew":
        hindered.start_worker(run_id, "ours")
    hindered.pass_time(IN_TIME, step_seconds=5)
    state = hindered.state(run_id)
    assert state["type"] == ("RUNNING" if evidence == "none" else "CRASHED")
    if evidence != "none":
        assert "and the worker that started it is gone" in state["message"]


@pytest.mark.parametrize(("worker", "pool_type"), [(OTHER, "docker"), ("", "kubernetes"), (OTHER, "process")])
def test_start_that_takes_long_is_no_dead_worker(hindered: Any, worker: str, pool_type: str) -> None:
    slow = hindered.run("PENDING", worker=worker, pool_type=pool_type)
    if pool_type == "process":
        hindered.note_worker(slow, worker)
    killed = hindered.run("PENDING")
    hindered.pass_time(200)
    assert hindered.state(killed)["name"] == "AwaitingRetry"
    hindered.pass_time(1800, step_seconds=60)
    assert hindered.state(slow)["name"] == "Pending"


@pytest.mark.parametrize("caller", ["RUNNING", "FAILED"])
def test_subflow_that_waits_is_dead_once_its_caller_is(hindered: Any, caller: str) -> None:
    parent = hindered.run("PENDING", "RUNNING", worker=OTHER)
    call = {"flow_run_id": parent, "task_key": "child", "dynamic_key": "0"}
    task_run = hindered.server.post("/task_runs/", call)["id"]
    flow = hindered.server.post("/flows/", {"name": "child"})
    body = {"flow_id": flow["id"], "parent_task_run_id": task_run, "state": {"type": "PENDING"}}
    child = hindered.server.post("/flow_runs/", body)["id"]
    if caller != "RUNNING":
        hindered.set_state(parent, caller)
    hindered.pass_time(1900, step_seconds=60)
    assert hindered.state(child)["type"] == ("PENDING" if caller == "RUNNING" else "CRASHED")


def test_every_answer_late_is_neither_an_outage_nor_a_silence(
    hindered: Any, obstacles: Any, killed: str, alive: str
) -> None:
    """Time goes four times as fast. By it every answer comes 20 s late, and a run beats every 30 s.

    The service asks one question after the other of a run: the last four answers come on top of the 120 s.
    So does what this machine needs itself, which may be busy.
    """
    speed, busy_seconds = 4, 60
    obstacles.speed = speed
    obstacles.delay_seconds = 20 / speed
    hindered.watched.as_shown = obstacles.sped_up
    reconciler = Reconciler(hindered.watched, hindered.settings, lambda: time.monotonic() * speed)
    is_over = Event()

    def beat() -> None:
        while not is_over.wait(30 / speed):
            hindered.beat(alive)

    beating = Thread(target=beat)
    beating.start()
    try:
        began = time.monotonic()
        while hindered.state(killed)["type"] == "RUNNING":
            assert (time.monotonic() - began) * speed < IN_TIME + 4 * 20 + busy_seconds
            reconciler.run_once()
            assert reconciler.failures == []
            is_over.wait(5 / speed)
        assert hindered.state(killed)["type"] == "CRASHED"
        assert hindered.state(alive)["type"] == "RUNNING"
    finally:
        is_over.set()
        beating.join()
