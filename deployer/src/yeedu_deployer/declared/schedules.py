"""The schedules of one deployment as prefect.yaml declares them."""

from collections.abc import Mapping
from dataclasses import dataclass

from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import JsonValue, ValidationError

from yeedu_deployer.declared.keys import SCHEDULE
from yeedu_deployer.declared.section import Section

REFUSED_KEYS = {"replaces": "is not supported; change the slug, and the old schedule is removed"}
RULES = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
ONLY_FOR = {"anchor_date": "interval", "day_or": "cron"}
PrefectSchedule = CronSchedule | IntervalSchedule | RRuleSchedule


@dataclass(frozen=True)
class ScheduleSpec:
    """One schedule.

    Attributes:
        slug: Its stable name within the deployment; `schedule-N` by position when the file gives none.
        rule: What the file says about time: cron, interval (seconds) or rrule with timezone and the like.
        active: Whether it starts runs when it is first created; afterwards an operator's choice stays.
        parameters: Overrides of the deployment's parameters.
    """

    slug: str
    rule: dict[str, JsonValue]
    active: bool
    parameters: dict[str, JsonValue]


def to_prefect_schedule(rule: Mapping[str, JsonValue]) -> PrefectSchedule:
    """Build Prefect's schedule from a rule; an interval without an anchor date starts at this moment."""
    return next(model for key, model in RULES.items() if key in rule).model_validate(rule)


def read_schedules(deployment: Section, where: str) -> tuple[ScheduleSpec, ...]:
    """Read and check `schedules`; problems go to the section's collector."""
    found: list[ScheduleSpec] = []
    for number, section in enumerate(deployment.sections("schedules", f"{where}: schedule"), start=1):
        section.check_keys(SCHEDULE, REFUSED_KEYS)
        schedule = _read_schedule(section, f"schedule-{number}")
        if schedule is None:
            continue
        if any(other.slug == schedule.slug for other in found):
            section.problems.add(
                section.line_of("slug"), f"{section.where}: the slug {schedule.slug!r} is taken already."
            )
        found.append(schedule)
    return tuple(found)


def _read_schedule(section: Section, derived_slug: str) -> ScheduleSpec | None:
    given = [key for key in RULES if section.entry(key)]
    if len(given) != 1:
        have = " and ".join(given) or "none of them"
        section.problems.add(
            section.node.line,
            f"{section.where} needs exactly one of cron, interval and rrule, but has {have}.",
        )
        return None
    for key, kind in ONLY_FOR.items():
        if section.entry(key) and given[0] != kind:
            article = "an" if kind == "interval" else "a"
            section.problems.add(section.line_of(key), f"{section.where}: {key!r} is for {article} {kind}.")
    rule = _read_rule(section, given[0])
    active = section.boolean("active")
    schedule = ScheduleSpec(
        slug=section.text("slug") or derived_slug,
        rule=rule,
        active=True if active is None else active,
        parameters=section.values("parameters"),
    )
    try:
        to_prefect_schedule(rule)
    except (ValidationError, ValueError) as error:
        section.problems.add(
            section.line_of(given[0]), f"{section.where}: {_first_reason(error, given[0], rule)}"
        )
        return None
    return schedule


def _read_rule(section: Section, kind: str) -> dict[str, JsonValue]:
    rule: dict[str, JsonValue] = {kind: section.text(kind), "timezone": section.text("timezone") or "UTC"}
    if kind == "interval":
        entry = section.entry(kind)
        rule[kind] = section.plain(entry.value) if entry else None
        if section.entry("anchor_date"):
            rule["anchor_date"] = section.text("anchor_date")
    elif kind == "cron" and section.entry("day_or"):
        rule["day_or"] = section.boolean("day_or")
    return rule


def _first_reason(error: ValueError, kind: str, rule: dict[str, JsonValue]) -> str:
    if isinstance(error, ValidationError):
        details = error.errors()[0]
        name = str(details["loc"][0]) if details["loc"] else kind
        reason = details["msg"].removeprefix("Value error, ").rstrip(".")
        return f"{name} {rule.get(name)!r} is not valid: {reason}."
    return f"{kind} {rule[kind]!r} is not valid: {str(error).rstrip('.')}."
