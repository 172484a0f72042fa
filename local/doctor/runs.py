"""Checks schedules and flow runs: those that are missing, late, or have lost their process."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import JSON, Site
from local.status.metrics import STATES, age_of, runs_in, scheduler_age

_LATE = timedelta(minutes=5)
_NEW = timedelta(minutes=5)
_AHEAD = timedelta(days=100)  # how far ahead the scheduler makes runs
_MOST_RUNS = 1000
ASKING_SECONDS = 4.0
HEARTBEAT_LABEL = "yeedu-prefect.heartbeat-seconds"  # of yeedu_worker.run_labels


def ours(site: Site) -> JSON:
    """Return the filter of what belongs to this platform, since another server may serve others too."""
    if not site.settings.other_server:
        return {}
    names = site.settings.get("RESCUE_WORK_POOLS", "yeedu-pool,image-pool,windows-pool").split(",")
    return {"work_pools": {"name": {"any_": names}}}


def check_schedules(site: Site) -> Iterator[Finding]:
    """Check that every active schedule has an upcoming run, and when the scheduler made its last one."""
    if site.server():
        return
    now = datetime.now(UTC)
    waiting: dict[str, str] = {}
    seldom: set[str] = set()
    for deployment in site.api.everything("/deployments/filter", ours(site)):
        active = [one for one in deployment["schedules"] if _has_runs_to_come(one, now)]
        if active and not deployment["paused"]:
            waiting[deployment["id"]] = deployment["name"]
            if all(_is_seldom(one["schedule"]) for one in active):
                seldom.add(deployment["id"])
    ahead, open_ones = _ahead(site, list(waiting), now)
    age = scheduler_age(site.api)
    told = f"the scheduler made its last run {age_of(age)} ago" if age is not None else "it has made no run"
    without = sorted(name for key, name in waiting.items() if key not in ahead | seldom | open_ones)
    if far := sorted(waiting[key] for key in seldom - ahead - open_ones):
        yield note(
            f"{', '.join(far[:3])}: no run to come is made yet; the next one may be over 100 days away",
            "the scheduler makes it then",
        )
    if without:
        yield wrong(
            f"{len(without)} active schedules have no run to come ({', '.join(without[:3])}); {told}",
            "`docker compose restart server`; its log says what the scheduler fails at",
        )
    elif open_ones:
        yield note(f"{len(open_ones)} of {len(waiting)} schedules were not checked: out of time; {told}")
    elif waiting:
        yield ok(f"all {len(waiting)} deployments with an active schedule have a run to come; {told}")
    else:
        yield ok("no schedule is active")


def _ahead(site: Site, deployments: list[str], now: datetime) -> tuple[set[str], set[str]]:
    """Return the deployments that have an upcoming run, and those that there was no time to check."""

    def body(wanted: list[str]) -> JSON:
        due = {"after_": (now - _LATE).isoformat()}
        state = {"type": {"any_": ["SCHEDULED"]}}
        return {
            "flow_runs": {"state": state, "deployment_id": {"any_": wanted}, "expected_start_time": due},
            "sort": "NEXT_SCHEDULED_START_TIME_ASC",
        }

    ahead: set[str] = set()
    if deployments:
        found = site.api.everything("/flow_runs/filter", body(deployments), most=_MOST_RUNS)
        ahead = {run["deployment_id"] for run in found}
    # With many runs, those of some deployments are beyond the first thousand.
    left = [one for one in deployments if one not in ahead]
    end = time.monotonic() + ASKING_SECONDS
    while left and time.monotonic() < end:
        one = left.pop()
        if site.api.post("/flow_runs/filter", {**body([one]), "limit": 1}):
            ahead.add(one)
    return ahead, set(left)


def _is_seldom(rule: JSON) -> bool:
    """Tell whether a schedule's next date may be further away than the scheduler looks ahead."""
    if "interval" in rule:
        return float(rule["interval"]) >= _AHEAD.total_seconds()
    if "cron" in rule:
        fields = str(rule["cron"]).split()
        return fields[3] != "*" if len(fields) > 4 else bool(re.search("year|annual", fields[0]))
    text = str(rule.get("rrule", ""))
    return bool(re.search(r"YEARLY|BYMONTH=|INTERVAL=(?!1\b)", text)) or "FREQ=" not in text


def _has_runs_to_come(schedule: JSON, now: datetime) -> bool:
    """Tell whether the scheduler should have made a run: it looks 100 days ahead, once a minute.

    An RRule with an end may be over, so it does not count.
    """
    if now - datetime.fromisoformat(schedule["updated"]) < _NEW:
        return False
    rule = schedule.get("schedule", {})
    has_end = re.search(r"UNTIL|COUNT", str(rule.get("rrule", "")))
    return (
        bool(schedule.get("active"))
        and not has_end
        and ("cron" in rule or "interval" in rule or "rrule" in rule)
    )


def check_late_runs(site: Site) -> Iterator[Finding]:
    """Check how late the oldest run is that nobody has started."""
    if site.server():
        return
    count, age = runs_in(site.api, STATES["late"], ours(site))
    if age is None or age < _LATE:
        yield ok(f"{count} runs are late" if count else "no run is late")
    else:
        yield wrong(
            f"{count} runs are late, the first by {age_of(age)}",
            "see `workers`, `pools` and `queues`; docs/pools.md says what else holds runs",
        )


def check_stuck_runs(site: Site) -> Iterator[Finding]:
    """Look for runs that neither start nor end, or send no heartbeat, long after rescue should have acted."""
    if site.server():
        return
    beats = timedelta(seconds=3 * site.settings.seconds("RESCUE_HEARTBEAT_SECONDS", 90) + 60)
    starts = timedelta(seconds=3 * site.settings.seconds("RESCUE_PENDING_SECONDS", 180))
    body = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "CANCELLING", "RUNNING"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        **ours(site),
    }
    now = datetime.now(UTC)
    looked = site.api.everything("/flow_runs/filter", body, most=_MOST_RUNS)
    stuck = 0
    for run in looked:
        state: JSON = run["state"] or {}
        age = now - datetime.fromisoformat(state.get("timestamp") or run["updated"])
        kind, where = run["state_type"], f"{site.settings.ui_url}/runs/flow-run/{run['id']}"
        labels: JSON = run.get("labels") or {}
        silence = age
        if kind == "RUNNING":
            if age < beats or not labels.get(HEARTBEAT_LABEL):
                continue  # runs of other kinds of worker need not send heartbeats
            silence = min(age, _silence(site, run, now))
        if silence > (starts if kind == "PENDING" else beats):
            stuck += 1
            what = "has sent no heartbeat" if kind == "RUNNING" else f"is {state.get('name') or kind}"
            yield wrong(
                f"run {run['name']} {what} for {age_of(silence)}: {where}",
                "see `rescue`, which ends such runs; or cancel it there",
            )
    if not stuck:
        first = "the first " if len(looked) >= _MOST_RUNS else ""
        yield ok(f"{first}{len(looked)} runs are under way, and none is stuck")


def _silence(site: Site, run: JSON, now: datetime) -> timedelta:
    """Return how long ago a run sent its last heartbeat; `timedelta.max` if it sent none within a day."""
    beat = newest_event(
        site,
        timedelta(days=1),
        event={"name": ["prefect.flow-run.heartbeat"]},
        resource={"id": [f"prefect.flow-run.{run['id']}"]},
    )
    return now - datetime.fromisoformat(beat["received"]) if beat else timedelta.max


def newest_event(site: Site, age: timedelta, **wanted: JSON) -> JSON | None:
    """Return the newest event that Prefect's filter finds and that is no older than `age`."""
    now = datetime.now(UTC)
    occurred = {"since": (now - age).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}
    body = {"filter": {**wanted, "occurred": occurred, "order": "DESC"}, "limit": 1}
    found: list[JSON] = site.api.post("/events/filter", body)["events"]
    return found[0] if found else None


THEME = Theme(
    "runs",
    (
        Check(
            "schedules",
            "whether every deployment with an active schedule has a run to come",
            "one has none, though its next date is in the next 100 days",
            "`docker compose restart server`",
            check_schedules,
        ),
        Check(
            "late-runs",
            "the oldest run that is *Late*",
            "it is late by more than 5 min",
            "docs/pools.md",
            check_late_runs,
        ),
        Check(
            "stuck-runs",
            "runs that are *Pending*, *Cancelling*, or *Running* without heartbeats",
            "for three times as long as the rescue service lets them",
            "see `rescue`; cancel the run",
            check_stuck_runs,
        ),
    ),
)
