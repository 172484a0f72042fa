"""Whether `make doctor` tells a schedule without runs from one that needs none yet."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from local.doctor import runs
from local.tests.patients import assert_told, notes, wrongs
from local.tests.served import EVERY_DAY, JSON, Served, serving_platform


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving_platform(tmp_path_factory) as platform:
        yield platform


def test_scheduler_that_makes_no_runs_is_wrong(served: Served) -> None:
    pool = served.pool()
    served.api.post(f"work_pools/{pool}/workers/heartbeat", {"name": "one"})
    deployment = served.deployment(pool, EVERY_DAY)
    assert served.told("schedules", pool) == []  # it is new, and the scheduler looks once a minute
    served.sql("UPDATE deployment_schedule SET updated = ?", "2026-01-01 00:00:00.000000")
    assert_told(served.told("schedules", pool), "no run to come", "it has made no run", "restart server")
    served.run(deployment, "SCHEDULED", ago=timedelta(hours=-1))
    assert served.told("schedules", pool) == []
    served.api.delete(f"deployments/{deployment}")


@pytest.mark.parametrize(
    ("rule", "is_seldom"),
    [
        ({"cron": "0 6 1 1 *"}, True),
        ({"cron": "@yearly"}, True),
        ({"cron": "0 6 * * 1"}, False),
        ({"interval": 365 * 86400}, True),
        ({"rrule": "FREQ=YEARLY"}, True),
        ({"rrule": "FREQ=DAILY;INTERVAL=1"}, False),
    ],
)
def test_schedule_of_a_day_in_a_year_needs_no_run_yet(served: Served, rule: JSON, is_seldom: bool) -> None:
    pool = served.pool()
    deployment = served.deployment(pool, {"active": True, "schedule": rule})
    served.sql("UPDATE deployment_schedule SET updated = ?", "2026-01-01 00:00:00.000000")
    told = served.told("schedules", pool)
    worth = [one for one in notes(served.site(), "schedules") if pool in one]
    assert (told == [], len(worth) == 1) == (is_seldom, is_seldom)
    served.api.delete(f"deployments/{deployment}")


def test_run_to_come_counts_behind_a_thousand_others(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_MOST_RUNS", 1)
    pools = [served.pool(), served.pool()]
    deployments = [served.deployment(pool, EVERY_DAY) for pool in pools]
    served.sql("UPDATE deployment_schedule SET updated = ?", "2026-01-01 00:00:00.000000")
    for deployment in deployments:
        served.run(deployment, "SCHEDULED", ago=timedelta(hours=-1))
    assert [served.told("schedules", pool) for pool in pools] == [[], []]
    monkeypatch.setattr(runs, "ASKING_SECONDS", 0)
    assert wrongs(served.site(), "schedules") == []
    assert_told(notes(served.site(), "schedules"), "1 of 2 schedules were not checked")
    for deployment in deployments:
        served.api.delete(f"deployments/{deployment}")
