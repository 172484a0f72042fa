"""Every field of every kind: set, changed, dropped, in any order; a real server has what the files say.

Each field is a `Field` below. A step gives some of them a value and leaves the others out; after it, the
server's value is the file's, a plan finds nothing to do, and what was planned before is what was done.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from yeedu_deployer.applied import ticks
from yeedu_deployer.server import read_secret
from yeedu_deployer.status import State

ANCHOR = "2026-01-01T00:00:00Z"
STAYS = object()  # what a field has that the file drops without an opinion
ABSENT = -1


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        path: Where it is in the files, as in `one/schedules/cron/timezone`.
        values: Two values that a file may give.
        read: Reads it from what the server has.
        dropped: What the server has where no file mentions it.
        stored: How the server writes each value, where that is another way.
    """

    path: str
    values: tuple[Any, Any]
    read: Callable[["Observed"], Any]
    dropped: Any
    stored: tuple[Any, Any] | None = None


class Observed:
    """What the server has now."""

    def __init__(self, platform) -> None:
        self.client = platform.client
        self.one = platform.client.read_deployment_by_name("one/one")
        self.schedules = {schedule.slug: schedule for schedule in self.one.schedules}
        self.pool = platform.client.read_work_pool("yeedu-pool")
        found = platform.client.read_automations()
        self.automations = {automation.name: automation.model_dump(mode="json") for automation in found}

    def rule(self, slug: str, name: str) -> Any:
        rule = self.schedules[slug].schedule.model_dump(mode="json")
        return rule.get(name)

    def variable(self, name: str) -> Any:
        return self.pool.base_job_template["variables"]["properties"][name].get("default")

    def secret(self, name: str) -> Any:
        return read_secret(self.client, name)

    def options(self) -> Any:
        options = self.one.concurrency_options
        return options and (options.collision_strategy.value, options.grace_period_seconds)

    def limit(self) -> Any:
        limit = self.one.global_concurrency_limit
        return limit and limit.limit


def of_one(path: str, values: tuple[Any, Any], dropped: Any, name: str = "") -> Field:
    return Field(f"one/{path}", values, lambda seen: getattr(seen.one, name or path), dropped)


def of_rule(slug: str, name: str, values: tuple[Any, Any], dropped: Any, stored: Any = None) -> Field:
    return Field(f"one/schedules/{slug}/{name}", values, lambda seen: seen.rule(slug, name), dropped, stored)


def of_schedule(slug: str, name: str, values: tuple[Any, Any], dropped: Any) -> Field:
    path = f"one/schedules/{slug}/{name}"
    return Field(path, values, lambda seen: getattr(seen.schedules[slug], name), dropped)


def of_automation(name: str, path: str, values: tuple[Any, Any], dropped: Any, *keys: Any) -> Field:
    def read(seen: Observed) -> Any:
        found = seen.automations[name]
        for key in keys:
            found = found[key]
        return sorted(found) if keys[-1] in ("expect", "after", "for_each") else found

    where = f"one/triggers/{name}" if name == "trigger" else "alert"
    return Field(f"{where}/{path}", values, read, dropped)


TRIGGER = ("trigger",)
RUN = ("actions", 0)
FIELDS = [
    of_one("description", ("first", "second"), "Says something."),
    of_one("version", ("1", "1.10"), None),
    of_one("tags", (["b", "a"], ["catch-up:all"]), []),
    of_one("paused", (True, False), STAYS),
    of_one("enforce_parameter_schema", (False, True), True),
    of_one("parameters", ({"count": 2}, {"message": "x", "count": 3}), {}),
    of_one("entrypoint", ("flows/one.py:run", "flows/moved.py:run"), "flows/one.py:run"),
    of_one("work_pool/work_queue_name", ("fast", "slow"), "default", "work_queue_name"),
    of_one("work_pool/job_variables", ({"env": {"A": "1"}}, {"working_dir": "/srv"}), {}, "job_variables"),
    of_one("work_pool/name", ("windows-pool", "yeedu-pool"), "yeedu-pool", "work_pool_name"),
    Field("one/concurrency_limit/limit", (2, 3), Observed.limit, None),
    Field(
        "one/concurrency_limit/collision_strategy",
        ("CANCEL_NEW", "ENQUEUE"),
        lambda seen: (seen.options() or ("ENQUEUE",))[0],
        "ENQUEUE",
    ),
    Field(
        "one/concurrency_limit/grace_period_seconds",
        (60, 90),
        lambda seen: (seen.options() or (None, None))[1],
        None,
    ),
    of_rule("cron", "cron", ("1 1 1 1 *", "2 2 2 2 *"), "0 0 1 1 *"),
    of_rule("cron", "timezone", ("Europe/Berlin", "Asia/Tokyo"), "UTC"),
    of_rule("cron", "day_or", (False, True), True),
    of_schedule("cron", "active", (False, True), True),
    of_schedule("cron", "parameters", ({"count": 5}, {"message": "of a schedule"}), {}),
    of_rule("interval", "interval", (86400, 604800), 999999, (86400.0, 604800.0)),
    of_rule("interval", "timezone", ("Europe/Berlin", "Asia/Tokyo"), "UTC"),
    of_rule("interval", "anchor_date", (ANCHOR, "2026-02-01T00:00:00Z"), STAYS),
    of_rule(
        "rrule",
        "rrule",
        ("DTSTART:20260101T080000\nFREQ=YEARLY", "FREQ=MONTHLY;BYDAY=MO"),
        "FREQ=YEARLY",
        ("DTSTART:20260101T080000\nFREQ=YEARLY", "DTSTART:20200101T000000\nFREQ=MONTHLY;BYDAY=MO"),
    ),
    of_automation("trigger", "enabled", (False, True), True, "enabled"),
    of_automation("trigger", "description", ("first", "second"), "", "description"),
    of_automation("trigger", "expect", (["b", "a"], ["c"]), ["z"], *TRIGGER, "expect"),
    of_automation("trigger", "after", (["b", "a"], ["c"]), [], *TRIGGER, "after"),
    of_automation("trigger", "match", ({"x": "1"}, {"y": ["2", "1"]}), {}, *TRIGGER, "match"),
    of_automation("trigger", "threshold", (2, 3), 1, *TRIGGER, "threshold"),
    of_automation("trigger", "within", (20, 30), 0, *TRIGGER, "within"),
    of_automation("trigger", "parameters", ({"message": "b"}, {"count": 1}), None, *RUN, "parameters"),
    of_automation(
        "trigger", "job_variables", ({"env": {"B": "2"}}, {"env": {}}), None, *RUN, "job_variables"
    ),
    of_automation("alert", "enabled", (False, True), True, "enabled"),
    of_automation("alert", "description", ("first", "second"), "", "description"),
    of_automation("alert", "trigger/expect", (["b", "a"], ["c"]), ["z"], *TRIGGER, "expect"),
    of_automation("alert", "trigger/threshold", (2, 3), 1, *TRIGGER, "threshold"),
    Field("pool/description", ("first", "second"), lambda seen: seen.pool.description, None),
    Field("pool/concurrency_limit", (1, 2), lambda seen: seen.pool.concurrency_limit, None),
    Field("pool/job_variables/command", ("a", "b"), lambda seen: seen.variable("command"), None),
    Field(
        "pool/job_variables/stream_output", (False, True), lambda seen: seen.variable("stream_output"), True
    ),
    Field("environment/PASSWORD", ("first", "123456"), lambda seen: seen.secret("yeedu-password"), STAYS),
    Field(
        "environment/YEEDU_USERNAME",
        ("ada", "bob"),
        lambda seen: seen.secret("yeedu-connection-details")["username"],
        "demo",
    ),
]
PATHS = {field.path: field for field in FIELDS}
# A mapping that needs one of its keys has it while any other is set.
NEEDED = {
    "one/concurrency_limit/collision_strategy": "one/concurrency_limit/limit",
    "one/concurrency_limit/grace_period_seconds": "one/concurrency_limit/limit",
}


def defaults() -> dict[str, Any]:
    return {
        "one": {
            "name": "one",
            "entrypoint": "flows/one.py:run",
            "work_pool": {"name": "yeedu-pool"},
            "schedules": {
                "cron": {"cron": "0 0 1 1 *"},
                "interval": {"interval": 999999},
                "rrule": {"rrule": "FREQ=YEARLY"},
            },
            "triggers": {"trigger": {"name": "trigger", "expect": ["z"]}},
        },
        "alert": {
            "name": "alert",
            "trigger": {"type": "event", "posture": "Reactive", "expect": ["z"]},
            "actions": [{"type": "do-nothing"}],
        },
        "pool": {"name": "yeedu-pool"},
        "environment": {},
    }


def files_of(step: dict[str, int]) -> dict[str, Any]:
    """Form the files in which each field has the value of its number; other fields are left out."""
    tree = defaults()
    for path, number in step.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = PATHS[path].values[number]
    one = tree["one"]
    one["schedules"] = [{"slug": slug, **rule} for slug, rule in one["schedules"].items()]
    one["triggers"] = list(one["triggers"].values())
    return tree


@pytest.fixture
def walk(platform, monkeypatch):
    """Take a step, and compare; values that stay are carried from one step to the next."""
    monkeypatch.setattr(ticks, "SCHEDULER_TURN_SECONDS", 0)
    one = (platform.repository.path / "flows/one.py").read_text()
    platform.repository.commit({"flows/moved.py": one})
    kept: dict[str, Any] = {"one/paused": False, "environment/PASSWORD": None}
    reports = []

    def step(chosen: dict[str, int]) -> None:
        chosen = dict(chosen)
        for path, needed in NEEDED.items():
            if path in chosen:
                chosen.setdefault(needed, 0)
        tree = files_of(chosen)
        environment = dict(tree["environment"])
        if "PASSWORD" in environment:
            password = environment.pop("PASSWORD")
            environment["YEEDU_PASSWORD_FILE"] = str(platform.secret("password", password))
        clone = {"prefect.deployments.steps.git_clone": {"repository": "{{ $FLOWS_GIT_URL }}"}}
        yaml = json.dumps({"pull": [clone], "deployments": [tree["one"]]})
        files = {
            "pools": json.dumps({"work_pools": [tree["pool"], {"name": "windows-pool"}]}),
            "alerts": json.dumps({"automations": [tree["alert"]]}),
            "environment": environment,
        }

        planned = platform.apply(yaml, **files, plan=True)
        applied = platform.apply(yaml, **files)
        again = platform.apply(yaml, **files, plan=True)

        assert (planned.failures, applied.failures, again.failures) == ([], [], [])
        reports.append((planned, applied))
        if len(reports) > 1:  # the first one's ids are not known before
            assert [row.changes for row in planned.rows] == [
                row.changes for row in applied.rows if row.kind != "first run"
            ]
        assert not again.changes_planned, [row for row in again.rows if row.changes]
        seen = Observed(platform)
        for path, field in PATHS.items():
            expected = field.dropped
            if path in chosen:
                expected = (field.stored or field.values)[chosen[path]]
            if field.read(seen) != expected and path.startswith("one/schedules/rrule") and path not in chosen:
                expected = f"DTSTART:20200101T000000\n{expected}"
            if expected is STAYS:
                if path not in kept:
                    continue
                expected = kept[path]
            if path.endswith(("/expect", "/after")):
                expected = sorted(expected)
            assert (path, field.read(seen)) == (path, expected)
            if field.dropped is STAYS:
                kept[path] = expected

    return step


def every(number: int) -> dict[str, int]:
    return {field.path: number for field in FIELDS}


@pytest.mark.timeout(240)
def test_all_fields_are_set_changed_dropped_and_set_again(platform, walk):
    for step in ({}, every(0), every(1), {}, every(1)):
        walk(step)


@pytest.mark.timeout(300)
def test_any_fields_are_set_changed_and_dropped(platform, walk):
    """Each example is the next step of one walk: each field for itself is set, changed or dropped."""
    fields = {field.path: st.sampled_from([ABSENT, 0, 1]) for field in FIELDS}

    @settings(
        max_examples=10,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.fixed_dictionaries(fields))
    def take(step: dict[str, int]) -> None:
        walk({path: number for path, number in step.items() if number != ABSENT})

    take()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.long)])
def test_status_after_an_apply_is_in_step_however_often_it_is_asked(platform, walk, times):
    walk({"one/schedules/rrule/rrule": 1, "one/concurrency_limit/limit": 0})
    yaml = (platform.folder / "prefect.yaml").read_text()
    files = {name: (platform.folder / name).read_text() for name in ("work-pools.yaml", "alerts.yaml")}
    for _ in range(times):
        deployer = platform.deployer(yaml, files, {}, plan_only=True)
        assert [(row.name, row.state, row.drift) for row in deployer.status()] == [("one", State.IN_STEP, ())]
        assert not deployer.report.changes_planned
