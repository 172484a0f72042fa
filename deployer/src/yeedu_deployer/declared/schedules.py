"""Reads a deployment's schedules in prefect.yaml, and compares them with the server's."""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import Field, JsonValue, ValidationError, model_validator

from yeedu_deployer.declared.templating import needs_server
from yeedu_deployer.declared.validation import Declared, Name, Switch, Text, Value, Values, problem

RULES = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
ONLY_FOR = {"anchor_date": "interval", "day_or": "cron"}
EXAMPLES = {
    "cron": "minute, hour, day, month and weekday, such as '0 6 * * 1'",
    "interval": "seconds, such as 3600, or PT1H",
    "rrule": "an iCalendar rule, such as 'FREQ=DAILY;BYHOUR=6'",
    "timezone": "an IANA name, such as Europe/Berlin",
    "anchor_date": "a date, such as 2026-01-01",
    "day_or": "true or false",
}
START = re.compile(r"\ADTSTART:(\d{8}T\d{6})\n")
STEP = re.compile(r"FREQ=(SECONDLY|MINUTELY)\b(?!.*\bCOUNT=)", re.IGNORECASE)
DEFAULT_START = datetime(2020, 1, 1)  # noqa: DTZ001 - Prefect's own, in the schedule's time zone
MIN_INTERVAL = timedelta(seconds=1)  # one with a thousand runs a second starves all others
PrefectSchedule = CronSchedule | IntervalSchedule | RRuleSchedule


class Schedule(Declared):
    """When runs start: exactly one of `cron`, `interval` and `rrule`."""

    cron: Text | None = Field(None, description="A cron expression, for example '*/5 * * * *'.")
    interval: Value = Field(
        None,
        description="Seconds from one run to the next, or PT1H30M.",
        json_schema_extra={"type": ["number", "string"]},
    )
    rrule: Text | None = Field(None, description="An iCalendar recurrence rule, for example 'FREQ=DAILY'.")
    timezone: Text | None = Field(None, description="An IANA time zone (default: UTC).")
    day_or: Switch | None = Field(
        None, description="For cron: whether day and weekday are alternatives (default: true)."
    )
    anchor_date: Text | None = Field(None, description="For an interval: a time from which it is counted.")
    active: Switch | None = Field(
        None, description="Whether it starts runs when it is first created; the operator's choice stays."
    )
    parameters: Values = Field(default={}, description="Overrides of the deployment's parameters.")
    slug: Name | None = Field(None, description="The schedule's identity: keep it when you change the time.")
    replaces: Text | None = Field(None, description="Has to be empty: change the slug, and the old one goes.")

    @property
    def kind(self) -> str:
        """Which of the three kinds it is."""
        return next(key for key in RULES if getattr(self, key) is not None)

    @property
    def rule(self) -> dict[str, JsonValue]:
        """Its timing: cron, interval (seconds) or rrule, with time zone and other options."""
        rule: dict[str, JsonValue] = {self.kind: getattr(self, self.kind), "timezone": self.timezone or "UTC"}
        rule |= {key: getattr(self, key) for key in ONLY_FOR if getattr(self, key) is not None}
        if self.rrule and self.rrule.lstrip().startswith("{"):
            whole = json.loads(self.rrule)
            rule |= {"rrule": whole["rrule"], "timezone": self.timezone or whole.get("timezone") or "UTC"}
        return rule

    @model_validator(mode="after")
    def _is_valid(self) -> Self:
        given = [key for key in RULES if getattr(self, key) is not None]
        if len(given) != 1:
            have = " and ".join(given) or "none of them"
            raise problem(f"needs exactly one of cron, interval and rrule, but has {have}; write one.")
        for key, kind in ONLY_FOR.items():
            if getattr(self, key) is not None and given[0] != kind:
                raise problem(f"is for {'an' if kind == 'interval' else 'a'} {kind}.", key)
        if self.anchor_date and self.anchor_date.isdecimal():
            raise problem("must be a date such as 2026-01-01, or a date and a time.", "anchor_date")
        if self.replaces:
            raise problem("is not supported; change the slug, and the old schedule is removed.", "replaces")
        if not needs_server(self.model_dump()):
            self._check_rule(given[0])
        return self

    def _check_rule(self, kind: str) -> None:
        try:
            made = to_prefect_schedule(self.rule)
            if isinstance(made, IntervalSchedule) and made.interval < MIN_INTERVAL:
                raise ValueError("Input should be a second or more")  # noqa: TRY301 - told as Prefect's own
        except ValidationError as error:
            details = error.errors()[0]
            key = str(details["loc"][0]) if details["loc"] else kind
            reason = details["msg"].removeprefix("Value error, ")
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            key, reason = kind, str(error) or type(error).__name__
        else:
            return
        value, at = getattr(self, key, None), key if getattr(self, key, None) is not None else kind
        known = "" if at in ("cron", "timezone") else f": {' '.join(reason.split()).rstrip('.')}"
        raise problem(f"is {value!r}, which is not valid{known}; write {EXAMPLES[at]}.", at)


def to_prefect_schedule(rule: Mapping[str, JsonValue]) -> PrefectSchedule:
    """Build Prefect's schedule from a rule; an interval without an anchor date starts now."""
    return next(model for key, model in RULES.items() if key in rule).model_validate(rule)


def says_the_same(rule: Mapping[str, JsonValue], stored: Mapping[str, Any]) -> bool:
    """Tell whether the server's schedule, as JSON, is its form of a rule of the file.

    The server adds a DTSTART to an RRULE that has none: 1 January 2020 or, for a rule by the minute or
    second, a recent moment in the same step. So the same rule may be stored as a different text each time.
    """
    made = DeploymentScheduleCreate(schedule=to_prefect_schedule(rule)).schedule.model_dump(mode="json")
    # An interval without an anchor date is counted from its creation.
    said = {key: value for key, value in made.items() if key != "anchor_date" or key in rule}
    differ = [key for key, value in said.items() if stored.get(key) != value]
    if differ != ["rrule"]:
        return not differ
    declared, text = str(rule["rrule"]), str(stored.get("rrule"))
    start, step = START.match(text), STEP.search(declared)
    if not start or not step or text[start.end() :] != declared:
        return text == declared  # as an older server stored it
    every = int(found.group(1)) if (found := re.search(r"INTERVAL=(\d+)", declared, re.IGNORECASE)) else 1
    period = timedelta(seconds=every * (1 if step.group(1).upper() == "SECONDLY" else 60))
    began = datetime.strptime(start.group(1), "%Y%m%dT%H%M%S")  # noqa: DTZ007 - as DEFAULT_START
    return not (began - DEFAULT_START) % period
