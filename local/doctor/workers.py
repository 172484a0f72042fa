"""Checks workers, pools and queues: which are polled, by which version, and where runs wait in vain."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from local.api import ApiUnavailableError
from local.backup.backups import prefect_version
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.runs import newest_event, ours
from local.doctor.site import JSON, Site, ended, once
from local.install.virtual_environment import PROGRAMS
from local.processes.supervisor import Supervisor
from local.status.metrics import age_of

_BEATS_MISSED = 4
_WAITING = {"state": {"type": {"any_": ["SCHEDULED"]}}}


@once
def _pools(site: Site) -> list[JSON]:
    return site.api.everything("/work_pools/filter", ours(site))


@once
def _workers(site: Site) -> dict[str, list[JSON]]:
    """Return the workers of each pool."""
    path = "/work_pools/{}/workers/filter"
    names = [pool["name"] for pool in _pools(site)]
    return {name: site.api.everything(path.format(quote(name, safe=""))) for name in names}


def _polls(worker: JSON) -> bool:
    """Tell whether a worker sent a heartbeat recently; the server itself is slow to notice a silent one."""
    if worker["status"] != "ONLINE" or not worker["last_heartbeat_time"]:
        return False
    silence = datetime.now(UTC) - datetime.fromisoformat(worker["last_heartbeat_time"])
    return silence < _BEATS_MISSED * timedelta(seconds=worker["heartbeat_interval_seconds"] or 30)


def check_workers(site: Site) -> Iterator[Finding]:
    """Check when each worker last polled."""
    if site.server():
        return
    now = datetime.now(UTC)
    online = 0
    for pool in _pools(site):
        workers = _workers(site)[pool["name"]]
        has_other = any(map(_polls, workers))
        for worker in workers:
            last = worker["last_heartbeat_time"]
            age = age_of(now - datetime.fromisoformat(last)) if last else "never"
            if _polls(worker):
                online += 1
                continue
            text = f"worker {worker['name']} of {pool['name']} was last heard of {age} ago"
            fix = "start it again where it runs; its record goes after RESCUE_WORKER_SECONDS"
            yield note(text, fix) if has_other or not _is_ours(site, worker["name"]) else wrong(text, fix)
    if site.form != "none" and not online:
        yield wrong(
            "no worker polls, so no run starts", "`docker compose logs worker` says why; then `make up`"
        )
    else:
        yield ok(f"{online} workers poll")


def _is_ours(site: Site, name: str) -> bool:
    return site.form != "none" and name == site.settings.get("WORKER_NAME", "linux-worker")


def check_pools(site: Site) -> Iterator[Finding]:
    """Look for pools in which runs wait because nobody polls them, they are paused, or their limit is 0."""
    if site.server():
        return
    deployments = site.api.everything("/deployments/filter", ours(site))
    polled = 0
    for pool in _pools(site):
        name = pool["name"]
        active = [
            one["name"]
            for one in deployments
            if one["work_pool_name"] == name
            and not one["paused"]
            and any(schedule["active"] for schedule in one["schedules"])
        ]
        due = _due(site, {"work_pools": {"name": {"any_": [name]}}})
        if any(map(_polls, _workers(site)[name])):
            polled += 1
        elif active or due:
            what = f"schedules of {', '.join(active[:3])}" if active else f"{due} runs"
            yield wrong(
                f"no worker polls {name}, and {what} wait there",
                "attach one: worker/attach.sh run --server ADDRESS --pool " + name,
            )
        elif site.form == "containers" and name == "yeedu-pool":
            yield wrong(f"no worker polls {name}", "`docker compose logs worker` says why; then `make up`")
        if pool["is_paused"] and (active or due):
            yield wrong(
                f"{name} is paused, and {due or 'scheduled'} runs wait there",
                f"prefect work-pool resume {name}",
            )
        if pool["concurrency_limit"] == 0:
            yield wrong(
                f"{name} has the limit 0, so nothing starts",
                f"prefect work-pool clear-concurrency-limit {name}",
            )
    yield ok(f"{polled} pools are polled")


def _due(site: Site, chosen: JSON) -> int:
    """Count the runs that were due a minute ago and have not begun."""
    until = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    runs = {**_WAITING, "expected_start_time": {"before_": until}}
    return int(site.api.post("/flow_runs/count", {"flow_runs": runs, **chosen}))


def check_queues(site: Site) -> Iterator[Finding]:
    """Look for queues in which runs wait because nobody polls them, they are paused, or their limit is 0."""
    if site.server():
        return
    count = 0
    for pool in _pools(site):
        path = f"/work_pools/{quote(pool['name'], safe='')}/queues/filter"
        for queue in site.api.everything(path):
            count += 1
            where = f"{queue['name']} of {pool['name']}"
            if not (queue["is_paused"] or queue["concurrency_limit"] == 0 or queue["status"] == "NOT_READY"):
                continue
            due = _due(site, {"work_pool_queues": {"id": {"any_": [queue["id"]]}}})
            if not due:
                continue
            option = f"{queue['name']} --pool {pool['name']}"
            if queue["is_paused"]:
                yield wrong(
                    f"the queue {where} is paused, and {due} runs wait there",
                    f"prefect work-queue resume {option}",
                )
            elif queue["concurrency_limit"] == 0:
                yield wrong(
                    f"the queue {where} has the limit 0, and {due} runs wait there",
                    f"prefect work-queue clear-concurrency-limit {option}",
                )
            else:
                yield wrong(
                    f"nobody polls the queue {where}, and {due} runs wait there",
                    "let a worker poll it: WORKER_QUEUES in .env, or --work-queue of attach.sh",
                )
    yield ok(f"{count} queues were checked")


def check_worker_versions(site: Site) -> Iterator[Finding]:
    """Compare the Prefect of every online worker, including attached ones, with the server's."""
    if site.server():
        return
    try:
        servers = str(site.api.get("/admin/version"))
    except ApiUnavailableError:
        servers = prefect_version(site.root)  # Prefect Cloud reports none
    known = 0
    for pool, workers in _workers(site).items():
        for worker in filter(_polls, workers):
            version = _version(site, pool, worker["name"])
            known += bool(version)
            if version and version != servers:
                yield wrong(
                    f"worker {worker['name']} of {pool} has Prefect {version}, the server {servers}",
                    "update its checkout and start it again (worker/attach.sh); containers: `make up`",
                )
    yield ok(f"{known} workers have told their version; the server has Prefect {servers}")


def _version(site: Site, pool: str, name: str) -> str:
    """Return the Prefect version that a worker reported in the last 60 days; empty if it reported none."""
    told = newest_event(
        site,
        timedelta(days=60),
        event={"name": ["prefect.worker.started", "prefect.worker.executed-flow-run"]},
        resource={"labels": {"prefect.resource.name": [name]}},
        related={"labels": {"prefect.resource.name": [pool]}, "role": ["work-pool"]},
    )
    return str(told["resource"].get("prefect.version", "")) if told else ""


def check_worker_health(site: Site) -> Iterator[Finding]:
    """Show what the worker's successful health check reports: what it waits for, and what it left out."""
    if site.runs("worker"):
        health: JSON = (site.item("worker") or {}).get("State", {}).get("Health") or {}
        log: list[JSON] = health.get("Log") or [{}]
        said = "" if site.unknown() else str(log[-1].get("Output") or "").strip()
        is_well = log[-1].get("ExitCode") == 0
    elif site.is_process_form and (record := Supervisor(site.state).find("worker")):
        own = {"PREFECT_HOME": str(site.state / "worker"), "PREFECT_WORKER_WEBSERVER_PORT": str(record.port)}
        command = [str(PROGRAMS / "python"), "-m", "yeedu_worker.healthcheck"]
        done = ended(command, environment={**os.environ, **own})
        is_well, said = done.code == 0, done.output.strip()
    else:
        return
    if said and is_well:
        yield note(
            said[:500], "what a worker waits for comes with `make deploy`; patches with a newer release"
        )
    elif is_well:
        yield ok("it polls, has room, waits for nothing, and has left out no patch of Prefect")


THEME = Theme(
    "workers",
    (
        Check(
            "workers",
            "when each worker polled for the last time",
            "none polls, or the platform's own does not",
            "`docker compose logs worker`, `make up`",
            check_workers,
        ),
        Check(
            "pools",
            "pools that runs wait in",
            "nobody polls one, it is paused, or its limit is 0",
            "`worker/attach.sh`, `prefect work-pool resume`",
            check_pools,
        ),
        Check(
            "queues",
            "queues that runs wait in",
            "one is paused, its limit is 0, or nobody polls it",
            "`prefect work-queue resume`, `WORKER_QUEUES`",
            check_queues,
        ),
        Check(
            "worker-versions",
            "the Prefect of every worker that polls, attached ones too",
            "it is another than the server's",
            "update the worker's checkout; `make up`",
            check_worker_versions,
        ),
        Check(
            "worker-health",
            "what the worker's own health check says while it succeeds: what it waits for, which patches of "
            "Prefect it has left out",
            "never",
            "`make deploy`; a release that knows this Prefect",
            check_worker_health,
        ),
    ),
)
