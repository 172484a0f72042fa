"""Which of the runs that nobody polled for are dropped: by their ages on the server's clock."""

import datetime as dt
from types import SimpleNamespace

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from yeedu_worker import catch_up as module
from yeedu_worker.catch_up import GRACE_SECONDS, MissedRun, Policy, catch_up, to_drop

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("policy", "ages", "dropped"),
    [
        (Policy.LATEST, [30, 20, 10], []),
        (Policy.LATEST, [300, 200, 100], [300, 200]),
        (Policy.LATEST, [90, GRACE_SECONDS, 59, 10], [90, GRACE_SECONDS]),
        (Policy.SKIP, [90, GRACE_SECONDS, 59], [90, GRACE_SECONDS]),
        (Policy.ALL, [3000, 30], []),
        (Policy.LATEST, [], []),
    ],
)
def test_only_a_run_that_is_due_for_longer_than_a_restart_takes_is_dropped(policy, ages, dropped):
    missed = [
        MissedRun(str(age), "deployment", "schedule", NOW - dt.timedelta(seconds=age), policy) for age in ages
    ]
    assert [run.id for run in to_drop(missed, NOW)] == [str(age) for age in dropped]


def test_each_schedule_keeps_its_own_latest():
    missed = [
        MissedRun(f"{schedule}-{age}", "deployment", schedule, NOW - dt.timedelta(seconds=age), Policy.LATEST)
        for schedule in ("first", "second")
        for age in (200, 100)
    ]
    assert [run.id for run in to_drop(missed, NOW)] == ["first-200", "second-200"]


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_worker_whose_clock_is_minutes_off_drops_what_others_would(server, monkeypatch, minutes):
    """By its own clock, the run of 30 seconds ago would be old; or that of five minutes ago too young."""
    pool = f"clock{minutes:+}"
    server.api.post("work_pools/", {"name": pool, "type": "process", "base_job_template": {}})
    flow = server.api.post("flows/", {"name": pool})["id"]
    now = dt.datetime.now(dt.UTC)
    schedule = {"interval": 300, "anchor_date": (now - dt.timedelta(seconds=30)).isoformat()}
    body = {"name": pool, "flow_id": flow, "work_pool_name": pool, "tags": ["catch-up:skip"]}
    body["schedules"] = [{"schedule": schedule, "active": True}]
    deployment = server.api.post("deployments/", body)["id"]
    window = {"start_time": now - dt.timedelta(minutes=7), "end_time": now + dt.timedelta(minutes=7)}
    window = {name: moment.isoformat() for name, moment in window.items()}
    server.api.post(f"deployments/{deployment}/schedule", window)

    class Off(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + dt.timedelta(minutes=minutes)

    monkeypatch.setattr(module, "dt", SimpleNamespace(datetime=Off, UTC=dt.UTC))
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        assert catch_up(client, pool, plan_only=True).skipped == {pool: 1}
        catch_up(client, pool)
    runs = server.api.post("flow_runs/filter", {"deployments": {"id": {"any_": [deployment]}}})
    due = {run["expected_start_time"]: run["state_name"] for run in runs}
    skipped = [dt.datetime.fromisoformat(moment) for moment, name in due.items() if name == "Skipped"]
    assert [round((now - moment).total_seconds()) for moment in skipped] == [330]
    assert len(due) > 2, "one is due for a moment only, and one in some minutes"
