"""Schedules of a file beside those that a server stores: what says the same is no difference."""

import json
from datetime import UTC, datetime

import pytest
from declared import HEAD, load_deployments
from prefect.cli.deploy._schedules import _schedule_config_to_deployment_schedule
from prefect.client.schemas.actions import DeploymentScheduleCreate

from yeedu_deployer.declared.schedules import says_the_same, to_prefect_schedule

ENTRY = """
  - name: one
    entrypoint: flows/one.py:run
    work_pool: {name: yeedu-pool}
    schedules:
"""
RRULES = {
    "plain": {"rrule": "FREQ=DAILY;BYHOUR=8;BYMINUTE=0;BYSECOND=0", "timezone": "Europe/Berlin"},
    "by-the-minute": {"rrule": "FREQ=MINUTELY;INTERVAL=7;BYSECOND=0", "timezone": "Asia/Tokyo"},
    "by-the-second": {"rrule": "RRULE:FREQ=SECONDLY;INTERVAL=90"},
    "counted": {"rrule": "FREQ=MINUTELY;COUNT=3"},
    "with-a-start": {"rrule": "DTSTART:20250101T060000\nRRULE:FREQ=WEEKLY;BYDAY=MO"},
    "as-json": {"rrule": json.dumps({"rrule": "FREQ=MONTHLY;BYDAY=1MO", "timezone": "Europe/Rome"})},
    "json-and-zone": {
        "rrule": json.dumps({"rrule": "FREQ=HOURLY;BYMINUTE=30;BYSECOND=0"}),
        "timezone": "Europe/Oslo",
    },
}
OTHERS = {
    "cron": {"cron": "0 5 * * *", "timezone": "Europe/Vienna", "day_or": False},
    "seconds": {"interval": 5400.5},
    "minutes": {"interval": "PT90M", "anchor_date": "2026-01-01"},
    "clock": {"interval": "01:30:00", "anchor_date": "2026-01-01T09:00:00", "timezone": "Europe/Vienna"},
    "offset": {"interval": 60, "anchor_date": "2026-01-01T09:00:00+05:00"},
}
ALL = RRULES | OTHERS


@pytest.fixture
def rules(tmp_path):
    """What the deployer reads of each schedule, by its slug."""
    file = tmp_path / "prefect.yaml"
    text = "".join(f"      - {json.dumps({'slug': slug, **config})}\n" for slug, config in ALL.items())
    file.write_text(HEAD + ENTRY + text, encoding="utf-8")
    [spec] = load_deployments(file, {})
    return {schedule.slug: schedule.rule for schedule in spec.says.schedules}


def test_each_schedule_is_the_one_that_stock_makes_of_it(rules):
    for slug, config in ALL.items():
        made = to_prefect_schedule(rules[slug]).model_dump(mode="json", exclude_none=True)
        stock = _schedule_config_to_deployment_schedule(config)["schedule"].model_dump(mode="json")
        if "interval" in config and "anchor_date" not in config:
            del made["anchor_date"], stock["anchor_date"]  # the moment at which it was made
        assert made == {"timezone": "UTC", **{key: one for key, one in stock.items() if one is not None}}, (
            slug
        )


def test_what_is_stored_says_the_same_whenever_it_was_stored(rules, platform):
    """A rule by the minute gets another start at each hour; any of them is in step."""
    platform.apply(HEAD + ENTRY + '      - {cron: "0 0 1 1 *", slug: yearly}\n')
    deployment = platform.client.read_deployment_by_name("one/one")
    platform.client.create_deployment_schedules(
        deployment.id,
        [
            DeploymentScheduleCreate(schedule=to_prefect_schedule(rule), active=False, slug=slug)
            for slug, rule in rules.items()
        ],
    )

    stored = {
        one.slug: one.schedule.model_dump(mode="json")
        for one in platform.client.read_deployment_schedules(deployment.id)
    }

    assert all(says_the_same(rule, stored[slug]) for slug, rule in rules.items())
    assert stored["plain"]["rrule"].startswith("DTSTART:20200101T000000\n")
    started = datetime.strptime(stored["by-the-minute"]["rrule"][8:23], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    for minutes, same in ((-7 * 60 * 24, True), (7, True), (1, False)):
        moved = datetime.fromtimestamp(started.timestamp() + 60 * minutes, UTC)
        text = f"DTSTART:{moved:%Y%m%dT%H%M%S}\n{rules['by-the-minute']['rrule']}"
        assert says_the_same(rules["by-the-minute"], stored["by-the-minute"] | {"rrule": text}) is same


@pytest.mark.parametrize(
    "edit",
    [
        {"rrule": "DTSTART:20200101T000000\nFREQ=DAILY;BYHOUR=9;BYMINUTE=0;BYSECOND=0"},
        {"rrule": "DTSTART:20240101T000000\nFREQ=DAILY;BYHOUR=8;BYMINUTE=0;BYSECOND=0"},
        {"rrule": None, "cron": "0 8 * * *"},
        {"timezone": "UTC"},
    ],
)
def test_an_edit_is_a_difference(edit):
    rule = RRULES["plain"]
    stored = DeploymentScheduleCreate(schedule=to_prefect_schedule(rule)).schedule.model_dump(mode="json")
    assert says_the_same(rule, stored)
    assert not says_the_same(rule, stored | edit)


def test_a_deployment_with_such_rules_is_in_step_once_it_was_applied(platform):
    schedules = "".join(f"      - {json.dumps({'slug': slug, **config})}\n" for slug, config in ALL.items())
    platform.apply(HEAD + ENTRY + schedules)

    deployer = platform.deployer(HEAD + ENTRY + schedules, {}, {}, plan_only=True)
    assert {row.name: (row.state.value, row.drift) for row in deployer.status()} == {"one": ("in step", ())}
