"""The examples of docs/schedules.md: the deployer applies them, and they start when the page says."""

import asyncio
import textwrap
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from declared import HEAD, load_deployments
from prefect.server.schemas.schedules import SCHEDULE_TYPES
from pydantic import TypeAdapter

from tests.pages import blocks

EXAMPLES = blocks("docs/schedules.md", "yaml")
VIENNA = ZoneInfo("Europe/Vienna")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday
MIDNIGHT_IN_OCTOBER = datetime(2026, 10, 25, tzinfo=VIENNA).astimezone(UTC)  # of the day with 25 hours


def declared():
    """A prefect.yaml with a deployment for each example of the page."""
    text = HEAD
    for number, example in enumerate(EXAMPLES, start=1):
        deployment = (
            f"- name: example-{number}\n  entrypoint: flows/one.py:run\n  work_pool: {{name: yeedu-pool}}\n"
        )
        text += textwrap.indent(deployment + textwrap.indent(example, "  "), "  ")
    return text


def rule_of(tmp_path, slug):
    """What the server is given of an example's schedule."""
    file = tmp_path / "examples.yaml"
    file.write_text(declared(), encoding="utf-8")
    schedules = [one for spec in load_deployments(file, {}) for one in spec.says.schedules]
    [rule] = [schedule.rule for schedule in schedules if schedule.slug == slug]
    return rule


def starts_of(rule, count, since=NEW_YEAR):
    """The first starts from a moment on, by the server's own reckoning, in Vienna's time."""
    schedule = TypeAdapter(SCHEDULE_TYPES).validate_python(rule)
    return [date.astimezone(VIENNA) for date in asyncio.run(schedule.get_dates(count, start=since))]


def starts(tmp_path, slug, count):
    """The first starts of an example's schedule in 2026, in Vienna's time."""
    return starts_of(rule_of(tmp_path, slug), count)


def test_every_example_is_applied_to_a_server(platform):
    report = platform.apply(declared())

    assert set(platform.outcomes(report).values()) == {"created"}
    deployments = platform.client.read_deployments()
    slugs = [schedule.slug for deployment in deployments for schedule in deployment.schedules]
    assert len(slugs) == "".join(EXAMPLES).count("slug:")


def test_between_times_is_every_five_minutes_of_office_hours(tmp_path):
    found = starts(tmp_path, "office-hours", 120 * 5)

    assert found == sorted(set(found))
    days = {date.date() for date in found}
    assert len(days) == 5
    assert all(date.weekday() < 5 and date.minute % 5 == 0 for date in found)
    per_day = [date for date in found if date.date() == max(days)]
    assert (len(per_day), per_day[0].strftime("%H:%M"), per_day[-1].strftime("%H:%M")) == (
        120,
        "08:00",
        "17:55",
    )


def test_rrules_fall_on_the_days_and_at_the_times_that_the_page_says(tmp_path):
    fridays = [f"{date:%a %d %b %H:%M:%S}" for date in starts(tmp_path, "last-friday", 4)]
    workdays = [f"{date:%a %H:%M:%S}" for date in starts(tmp_path, "three-times-a-workday", 7)]

    assert fridays[:2] == ["Fri 30 Jan 17:00:00", "Fri 27 Feb 17:00:00"]
    assert fridays[3] == "Fri 24 Apr 17:00:00", "the clocks changed in March"
    assert workdays == [
        *("Thu 08:30:00", "Thu 12:30:00", "Thu 17:30:00"),
        *("Fri 08:30:00", "Fri 12:30:00", "Fri 17:30:00", "Mon 08:30:00"),
    ]


def test_crons_and_intervals_start_when_the_page_says(tmp_path):
    nightly = [date for date in starts(tmp_path, "nightly", 365) if f"{date:%H:%M}" != "02:30"]
    assert [f"{date:%d %b %H:%M}" for date in nightly] == ["29 Mar 03:30"], "a time that the clocks skip"
    mondays = starts(tmp_path, "monday-mornings", 9)
    assert {f"{date.astimezone(UTC):%a %H:%M}" for date in mondays} == {"Mon 06:00"}
    first = starts(tmp_path, "first-of-the-month", 13)
    assert {f"{date.astimezone(UTC):%d %H:%M}" for date in first} == {"01 00:00"}
    quarters = [date.astimezone(UTC).month for date in starts(tmp_path, "quarterly", 5)]
    assert len(set(quarters)) == 4
    assert set(quarters) == {1, 4, 7, 10}
    every = starts(tmp_path, "every-90-minutes", 3)
    assert [(later - NEW_YEAR).total_seconds() % 5400 for later in every] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["cron", "rrule"])
def test_a_time_that_comes_twice_in_autumn_starts_once_whenever_the_server_reckons(tmp_path, kind):
    """The server reckons anew every minute: within the second of the two hours as well."""
    daily = {"rrule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", "timezone": "Europe/Vienna"}
    rule = rule_of(tmp_path, "nightly") if kind == "cron" else daily
    moments = [MIDNIGHT_IN_OCTOBER + timedelta(minutes=minutes) for minutes in range(0, 300, 10)]
    assert {f"{moment.astimezone(VIENNA):%H:%M}" for moment in moments} >= {"02:00", "02:50"}
    found = {date.astimezone(UTC) for moment in moments for date in starts_of(rule, 2, moment)}
    night = sorted(
        date.astimezone(VIENNA) for date in found if date - MIDNIGHT_IN_OCTOBER < timedelta(days=1)
    )
    assert [f"{date:%H:%M %Z}" for date in night] == ["02:30 CEST"]
