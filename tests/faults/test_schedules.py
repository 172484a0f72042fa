"""Schedules keep their ticks: through redeploys, through changes in git, and when no worker was there."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.faults.conftest import KILLS, Row
from tests.faults.stack import Stack
from tests.platforms import JSON, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900 + 60 * KILLS)]

FILE = "deployer/prefect.yaml"
NAME = "ticking"
ENTRY = """
  - name: ticking
    entrypoint: flows/print_message.py:print_message
    parameters: {message: m0}
    work_pool: *linux
    schedules: [{slug: tens, interval: 10, anchor_date: "2026-01-01T00:00:00+00:00"}]
"""
TENS = timedelta(seconds=10)


def redeploy(stack: Stack) -> str:
    done = stack.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    return next(line for line in done.stdout.splitlines() if NAME in line)


def due(run: JSON) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def scheduled(stack: Stack) -> list[JSON]:
    body = {"deployments": {"name": {"any_": [NAME]}}, "sort": "EXPECTED_START_TIME_ASC"}
    return [run for run in stack.api.everything("flow_runs/filter", body) if run["auto_scheduled"]]


@pytest.fixture(scope="module")
def ticking(stack: Stack) -> Iterator[None]:
    """A deployment in prefect.yaml that ticks every ten seconds."""
    before = (stack.checkout / FILE).read_text(encoding="utf-8")
    stack.edit(FILE, "\n  - name: load-taxi-trips\n", f"{ENTRY}\n  - name: load-taxi-trips\n")
    redeploy(stack)
    yield
    stack.edit(FILE, (stack.checkout / FILE).read_text(encoding="utf-8"), before)
    assert stack.deploy().returncode == 0
    assert NAME not in stack.api.deployments()


@pytest.mark.fault(24)
@pytest.mark.usefixtures("ticking")
def test_redeploys_neither_lose_nor_double_a_tick(stack: Stack, row: Row) -> None:
    redeploys = 2 * KILLS
    row.injected = (
        f"{redeploys} redeploys, every other one with a change, of a deployment that ticks every 10 s"
    )
    wait_for("first tick", lambda: [run for run in scheduled(stack) if run["state_type"] == "COMPLETED"], 90)
    first = due(scheduled(stack)[0])
    outcomes: Counter[str] = Counter()
    for number in range(redeploys):
        if is_changed := number % 2 == 1:
            stack.edit(FILE, f"{{message: m{number // 2}}}", f"{{message: m{number // 2 + 1}}}")
        line = redeploy(stack)
        assert ("changed" in line.split()) == is_changed, line
        outcomes["changed" if is_changed else "unchanged"] += 1
        time.sleep(random.uniform(0, 5))  # the moment of the redeploy is what this test is about
    last = datetime.now(UTC)
    ticks = Counter(due(run) for run in scheduled(stack) if due(run) <= last)
    count = int((last - first) / TENS) + 1
    assert ticks == Counter(first + number * TENS for number in range(count))
    row.held.append(f"{count} ticks, each with exactly one run; {dict(outcomes)}")


@pytest.mark.fault(25)
@pytest.mark.usefixtures("ticking")
def test_renamed_schedule_leaves_no_runs(stack: Stack, row: Row) -> None:
    row.injected = "a schedule gets another name and other times in prefect.yaml; then it is removed"
    stack.edit(FILE, "slug: tens, interval: 10,", "slug: sevens, interval: 7,")
    redeploy(stack)
    ahead = [run for run in scheduled(stack) if run["state_type"] == "SCHEDULED"]
    gaps = {due(later) - due(sooner) for sooner, later in pairwise(ahead)}
    assert gaps == {timedelta(seconds=7)}
    row.held.append(f"renamed: {len(ahead)} runs ahead, all of the new schedule")
    stack.edit(
        FILE,
        'schedules: [{slug: sevens, interval: 7, anchor_date: "2026-01-01T00:00:00+00:00"}]',
        "schedules: []",
    )
    redeploy(stack)
    assert [run for run in scheduled(stack) if run["state_type"] == "SCHEDULED"] == []
    assert stack.api.deployments()[NAME]["schedules"] == []
    row.held.append("removed: no run ahead")


@pytest.mark.fault(26)
def test_worker_that_was_away_for_hours_catches_up_with_one_run(stack: Stack, row: Row) -> None:
    row.injected = "no worker polled for two hours; a deployment ticks every five minutes"
    stack.compose("stop", "worker")
    try:
        with stack.ticking("five-minutes", "print-message", seconds=300) as name:
            window = {"start_time": _ago(hours=2), "end_time": _ago(hours=0), "min_runs": 24}
            stack.api.post(f"deployments/{stack.api.deployments()[name]['id']}/schedule", window)
            missed = [run for run in stack.api.runs(name) if due(run) < datetime.now(UTC)]
            assert len(missed) >= 24
            stack.start_service("worker")
            newest = missed[-1]["id"]
            assert stack.succeeded(newest)["run_count"] == 1
            ended = Counter(stack.state(run["id"])["name"] for run in missed)
            assert ended == {"Completed": 1, "Skipped": len(missed) - 1}
    finally:
        stack.start_service("worker")
    row.held.append(f"of {len(missed)} missed runs the newest Completed, the others are Skipped")


def _ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
