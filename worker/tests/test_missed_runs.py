"""Which of the runs that nobody polled for are dropped: a table of ages in seconds."""

import datetime as dt

import pytest

from yeedu_worker.catch_up import GRACE_SECONDS, MissedRun, Policy, to_drop

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
