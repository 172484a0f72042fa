"""Checks the Docker engine and the containers, or the local processes."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from local.console import Console
from local.containers.engine import container_of
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import JSON, Site
from local.errors import CommandError
from local.processes.process_mode import ProcessMode
from local.status.metrics import age_of

NEEDED_ENGINE = 25
OFTEN = 3
MEMORY_SETTINGS = {
    "worker": "WORKER_MEMORY",
    "image-worker": "WORKER_MEMORY",
    "server": "SERVER_MEMORY",
    "services": "SERVER_MEMORY",
    "postgres": "POSTGRES_MEMORY",
    "deployer": "DEPLOYER_MEMORY",
    "dask-worker": "DASK_WORKER_MEMORY",
    "yeedu-mock": "YEEDU_MOCK_MEMORY",
}
_OF_RUNS = {
    "worker",
    "image-worker",
    "dask-worker",
    "yeedu-mock",
}  # where a flow run's process was killed, and the service goes on
_LATELY = timedelta(hours=1)


def check_engine(site: Site) -> Iterator[Finding]:
    """Check that the engine answers, and that it and Compose are new enough."""
    described = site.engine.description
    found = re.match(r"Docker (\d+)", described)
    if site.engine.is_usable and found and int(found[1]) < NEEDED_ENGINE:
        yield wrong(f"{described}: {NEEDED_ENGINE} or newer is needed", "update Docker Engine")
    elif site.engine.is_usable:
        yield ok(described)
    elif described.startswith("Docker Compose"):
        yield wrong(described, "update the plugin docker-compose-plugin, or Docker Desktop")
    elif site.is_process_form or "docker is not installed" in described:
        yield note(f"{described}: the platform runs as local processes here")
    else:
        yield wrong(
            described,
            "start Docker (`sudo systemctl start docker`), or let your user reach it (group docker)",
        )


def check_services(site: Site) -> Iterator[Finding]:
    """Check each service's state, and show the last line of a failing health check."""
    if site.form == "none":
        yield note("the platform is not running", "`make up` starts it")
        return
    if site.is_process_form:
        yield from _processes(site)
        return
    is_starting = any(one.is_one_shot and one.status == "running" for one in site.containers)
    for container in site.containers:
        if container.is_ready:
            continue
        last = "" if site.unknown() else last_words(site.item(container.service) or {})
        text = f"{container.service} is {container}{f': {last}' if last else ''}"
        if container.is_one_shot and container.status in {"created", "running"}:
            how = "is at work" if container.status == "running" else "waits"
            yield note(f"{container.service} {how}", "wait, then check again; else `make up`")
        elif container.status == "created" and is_starting:
            yield note(f"{text}, and waits for others", "wait, then check again")
        elif container.has_failed or (container.status == "running" and container.health != "starting"):
            yield wrong(text, f"`docker compose logs {container.service}` says why; then `make up`")
        elif container.health == "starting":
            yield note(text, "wait, then check again")
        else:
            yield wrong(text, "`make up` starts it")
    missing = {"postgres", "server"} if not site.settings.other_server else set[str]()
    missing -= {container.service for container in site.containers}
    if missing and not site.settings.get("COMPOSE_FILE"):
        yield wrong(f"{', '.join(sorted(missing))}: there is no such container", "`make up` makes it")
    ready = sum(container.is_ready for container in site.containers)
    yield ok(f"{ready} of {len(site.containers)} containers are healthy, or have done their work")


def _processes(site: Site) -> Iterator[Finding]:
    well = 0
    for name, state, told in ProcessMode(site.settings, Console()).health():
        text = f"{name} is {state}{f', {told}' if told else ''}"
        if state == "healthy":
            well += 1
            if "restart" in told:  # what `Supervisor.trouble` says
                yield note(text, f"its log says why: .local/logs/{name}.log")
        else:
            yield wrong(text, f".local/logs/{name}.log says why; then `make up`")
    yield ok(f"{well} local processes are healthy")


def last_words(item: JSON) -> str:
    """Return the last line that a container's failing health check printed; empty when it succeeds."""
    health: JSON = item.get("State", {}).get("Health") or {}
    log: list[JSON] = health.get("Log") or []
    if not log or health.get("Status") == "healthy" or not log[-1].get("ExitCode"):
        return ""
    lines = str(log[-1].get("Output", "")).strip().splitlines()
    return lines[-1].strip() if lines else f"its health check left with {log[-1]['ExitCode']}"


def check_restarts(site: Site) -> Iterator[Finding]:
    """Count how often Docker had to restart a container."""
    total = 0
    for item in site.items:
        count, service = int(item.get("RestartCount") or 0), container_of(item).service
        if not count:
            continue
        total += count
        ago = since(item["State"]["StartedAt"])
        text = f"{service} ended by itself and was started again {count} times, lastly {age_of(ago)} ago"
        fix = f"`docker compose logs --since 2h {service}` says why it ended"
        yield wrong(text, fix) if count >= OFTEN and ago < _LATELY else note(text, fix)
    if site.items and not total:
        yield ok("no container had to be started again")


def since(time: str) -> timedelta:
    """Return how long ago a time was that the engine reports with nanoseconds."""
    try:
        return datetime.now(UTC) - datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", time))
    except ValueError:
        return timedelta(0)


def check_memory_limits(site: Site) -> Iterator[Finding]:
    """Check whether the kernel killed a process because its container's memory was full."""
    killed = 0
    for item in site.items:
        service = container_of(item).service
        count = _kills(site, service) if service in MEMORY_SETTINGS and site.runs(service) else 0
        if not (count or item["State"].get("OOMKilled")):
            continue
        killed += 1
        what = f"{count} processes of {service}" if count else service
        setting = MEMORY_SETTINGS.get(service, "mem_limit of docker-compose.yaml")
        text = f"{what} ended because the container ran out of memory"
        fix = f"give {setting} in .env more, or run fewer flows at a time (WORKER_LIMIT); then `make up`"
        of_runs = service in _OF_RUNS and site.runs(service)
        yield note(f"{text}: flow runs took more than there is", fix) if of_runs else wrong(text, fix)
    if site.items and not killed:
        yield ok("nothing was killed for lack of memory")


def _kills(site: Site, service: str) -> int:
    told = site.inside(service, "cat", "/sys/fs/cgroup/memory.events").output
    found = re.search(r"(?m)^oom_kill (\d+)", told)
    return int(found[1]) if found else 0


def check_checkout(site: Site) -> Iterator[Finding]:
    """Check whether the running project was started from this checkout."""
    if not site.items:
        return
    try:
        other = site.project.other_checkout()
    except CommandError as error:
        yield note(str(error))
        return
    if other:
        yield wrong(
            f"the project {site.project.name} was started from {other}, and not from {site.root}",
            "work there, or give this checkout's a name of its own: COMPOSE_PROJECT_NAME in .env",
        )
    else:
        yield ok(f"the project {site.project.name} was started from here")


THEME = Theme(
    "engine",
    (
        Check(
            "engine",
            "the Docker engine and Compose",
            "the engine does not answer, or is older than 25; Compose is older than 2.24",
            "start or update Docker",
            check_engine,
        ),
        Check(
            "checkout",
            "from which checkout the project's containers were started",
            "from another one of this machine",
            "`COMPOSE_PROJECT_NAME`",
            check_checkout,
        ),
        Check(
            "services",
            "every service's state, and the last line of a health check that fails",
            "one ended, is unhealthy, or was never started; not one that does its work once and is at it",
            "`docker compose logs NAME`, `make up`",
            check_services,
        ),
        Check(
            "restarts",
            "how often a container ended by itself and was started again",
            "three times or more, and within the last hour",
            "`docker compose logs --since 2h NAME`",
            check_restarts,
        ),
        Check(
            "memory-limits",
            "processes that the kernel killed in a container that ran out of memory",
            "one was the server's or the database's, or its container ended with it",
            "`WORKER_MEMORY` and its like, `WORKER_LIMIT`",
            check_memory_limits,
        ),
    ),
)
