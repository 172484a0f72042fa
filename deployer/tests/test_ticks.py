"""Ticks seconds away from a redeploy: each is there once, whatever the redeploy changes."""

import datetime as dt
from collections import Counter

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Completed, Pending

pytestmark = pytest.mark.long

HEAD = """
pull:
  - prefect.deployments.steps.git_clone:
      repository: "{{ $FLOWS_GIT_URL }}"
deployments:
"""
REDEPLOYS = 20
PREFETCH_SECONDS = 10  # a worker takes a run that long before it is due
YEARLY = '{cron: "0 0 1 1 *", slug: yearly}'


def one(*other_schedules, count=0, message="hello"):
    seconds = (
        '{interval: 1, anchor_date: "2026-01-01T00:00:00+00:00", slug: seconds, '
        f"parameters: {{message: {message}}}}}"
    )
    return f"""{HEAD}
  - name: one
    entrypoint: flows/one.py:run
    parameters: {{count: {count}}}
    work_pool: {{name: yeedu-pool}}
    schedules: [{", ".join([seconds, *other_schedules])}]
"""


def scheduled_runs(client, deployment_id):
    """Every run of the deployment that its schedules made, whatever became of it."""
    of_deployment = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]))
    runs = []
    while page := client.read_flow_runs(
        flow_run_filter=of_deployment, sort=FlowRunSort.EXPECTED_START_TIME_ASC, offset=len(runs)
    ):
        runs += page
    return [run for run in runs if run.auto_scheduled]


def overdue(client, deployment_id):
    now = dt.datetime.now(dt.UTC)
    runs = scheduled_runs(client, deployment_id)
    return [run.expected_start_time for run in runs if run.expected_start_time < now]


def take_due_runs(client, deployment_id):
    """What a worker does: take the runs that are due soon, some of them to the end."""
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=PREFETCH_SECONDS)
    query = {"deployment_ids": [str(deployment_id)], "scheduled_before": due.isoformat(), "limit": 3}
    for run in client.request("POST", "/deployments/get_scheduled_flow_runs", json=query).json():
        client.set_flow_run_state(run["id"], Pending(), force=True)
        if dt.datetime.fromisoformat(run["expected_start_time"]).second % 2:
            client.set_flow_run_state(run["id"], Completed(), force=True)


@pytest.fixture
def started(platform, eventually):
    """The deployment `one` with a tick every second and its first runs."""
    platform.apply(one())
    found = platform.client.read_deployment_by_name("one/one").id
    eventually(lambda: scheduled_runs(platform.client, found), "the scheduler's first runs")
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_changed", [False, True], ids=["unchanged", "changed"])
def test_a_redeploy_right_before_a_tick_neither_loses_nor_doubles_it(platform, started, is_changed):
    first = scheduled_runs(platform.client, started)[0].expected_start_time
    outcomes = Counter()

    for number in range(1, REDEPLOYS + 1):
        take_due_runs(platform.client, started)
        others = [YEARLY] if is_changed and number % 2 else []
        file = one(*others, count=number, message=f"m{number}") if is_changed else one()
        outcomes[platform.outcomes(platform.apply(file))["one"]] += 1

    assert outcomes == {"changed" if is_changed else "unchanged": REDEPLOYS}
    last = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=PREFETCH_SECONDS)
    runs = scheduled_runs(platform.client, started)
    ticks = Counter(run.expected_start_time for run in runs if run.expected_start_time <= last)
    seconds = int((last - first).total_seconds()) + 1
    assert ticks == Counter(first + dt.timedelta(seconds=number) for number in range(seconds))
    if is_changed:
        ahead = [run.parameters for run in runs if run.expected_start_time > last]
        assert all(found == {"count": REDEPLOYS, "message": f"m{REDEPLOYS}"} for found in ahead)
        assert len(ahead) > 20


def test_removing_a_schedule_keeps_the_overdue_runs_of_the_others(platform, started, eventually):
    platform.apply(one(YEARLY))
    eventually(lambda: len(overdue(platform.client, started)) > 3, "runs that nobody takes")
    before = overdue(platform.client, started)

    platform.apply(one())

    after = Counter(overdue(platform.client, started))
    assert set(before) <= after.keys()
    assert set(after.values()) == {1}


def test_a_paused_deployment_gets_no_tick(platform, started):
    platform.client.pause_deployment(started)
    now = dt.datetime.now(dt.UTC)

    platform.apply(one(count=1))

    runs = scheduled_runs(platform.client, started)
    assert [run for run in runs if run.expected_start_time > now] == []
