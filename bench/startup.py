"""Measures the start from nothing to the first Completed Yeedu run, and what the platform costs when idle."""

import json
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench import docker_stats, process_stats
from bench.usage import Usage
from bench.workers import seconds_between, temporary_checkout
from tests.platforms import (
    FINAL,
    JSON,
    ComposePlatform,
    LocalPlatform,
    Platform,
    wait_for,
)

_IDLE_SECONDS = 60.0
_STEP = re.compile(r"^\[ *([\d.]+) s\] (\S+) +(?:healthy|done)$", re.MULTILINE)

Idle = dict[str, dict[str, float]]
Figures = dict[str, Any]


def measure() -> Figures:
    """Build the images, start on empty volumes, and return the seconds until each service is up or done."""
    with temporary_checkout() as checkout:
        platform = ComposePlatform(checkout)
        print("building the images, which does not count", flush=True)
        platform.must("docker", "compose", "build", "--quiet", timeout_seconds=1200)
        try:
            print("docker compose up -d on empty volumes", flush=True)
            began = time.time()
            platform.must("docker", "compose", "up", "--detach")
            first = wait_for("first Yeedu run", lambda: _first_run(platform), 300, 0.3)
            steps = _steps(platform, began)
            listing = platform.must("docker", "compose", "ps", "--format", "{{.Service}} {{.ID}}")
            containers = dict(re.findall(r"^(\S+) (\S+)$", listing, re.MULTILINE))
            idle = _idle(platform, {name: partial(docker_stats.usage, at) for name, at in containers.items()})
        finally:
            platform.must("docker", "compose", "down", "--volumes")
    return _figures(began, first, steps, idle)


def measure_local() -> Figures:
    """Measure the same with local processes, in an environment that is installed first."""
    with temporary_checkout() as checkout:
        platform = LocalPlatform(checkout)
        print("installing, which does not count", flush=True)
        platform.must(sys.executable, "-m", "local", "install", timeout_seconds=1200)
        try:
            print("make up, with nothing there", flush=True)
            began = time.time()
            output = platform.up()
            first = wait_for("first Yeedu run", lambda: _first_run(platform), 300, 0.3)
            steps = {name: float(seconds) for seconds, name in _STEP.findall(output)}
            processes = process_stats.services(checkout)
            idle = _idle(platform, {name: partial(process_stats.usage, at) for name, at in processes.items()})
        finally:
            platform.down()
    return _figures(began, first, steps, idle)


def _figures(began: float, first: JSON, steps: dict[str, float], idle: Idle) -> Figures:
    if first["state_type"] != "COMPLETED":
        raise RuntimeError(f"the first Yeedu run is {first['state_name']}")
    return {
        "first_yeedu_run_seconds": seconds_between(began, first["end_time"]),
        "steps": steps,
        "idle": idle,
    }


def _first_run(platform: Platform) -> JSON | None:
    try:
        runs = platform.api.runs("run-yeedu-job")
    except OSError:  # not up yet; requests' errors are of this kind
        return None
    return next((run for run in runs if run["state_type"] in FINAL), None)


def _steps(platform: ComposePlatform, began: float) -> dict[str, float]:
    """Return when each service became healthy or ended, by the engine's own record of events."""
    project = f"label=com.docker.compose.project={platform.environment['COMPOSE_PROJECT_NAME']}"
    window = ["--since", f"{began:.3f}", "--until", f"{time.time():.3f}"]
    lines = platform.must(
        *("docker", "events", *window, "--format", "{{json .}}"),
        *("--filter", "type=container", "--filter", project),
        *("--filter", "event=die", "--filter", "event=health_status"),
    )
    steps: dict[str, float] = {}
    for line in lines.splitlines():
        event = json.loads(line)
        if event["Action"] in {"die", "health_status: healthy"}:
            service = event["Actor"]["Attributes"]["com.docker.compose.service"]
            steps.setdefault(service, event["timeNano"] / 1e9 - began)
    return dict(sorted(steps.items(), key=lambda step: step[1]))


def _idle(platform: Platform, usages: dict[str, Callable[[], Usage]]) -> Idle:
    """Return each service's share of one core, and its memory, while no schedule ticks."""
    platform.stop_schedules()
    print(f"nothing is due for {_IDLE_SECONDS:.0f} s", flush=True)
    before = {service: usage() for service, usage in usages.items()}
    began = time.monotonic()
    time.sleep(_IDLE_SECONDS)  # the length defines the figures
    seconds = time.monotonic() - began
    after = {service: usage() for service, usage in usages.items()}
    return {
        service: {
            "core_percent": (after[service].cpu_seconds - before[service].cpu_seconds) / seconds * 100,
            "megabytes": after[service].memory_bytes / 1e6,
        }
        for service in usages
    }


def table(results: Figures) -> str:
    """Return the results as two Markdown tables."""
    lines = ["| start with nothing there | after |", "| --- | --- |"]
    lines += [f"| {service} | {seconds:.1f} s |" for service, seconds in results["steps"].items()]
    lines += [f"| **first Yeedu run Completed** | **{results['first_yeedu_run_seconds']:.1f} s** |", ""]
    lines += ["| idle | % of one core | MB |", "| --- | --- | --- |"]
    idle = results["idle"]
    lines += [
        f"| {service} | {row['core_percent']:.1f} | {row['megabytes']:.0f} |" for service, row in idle.items()
    ]
    total = [sum(row[name] for row in idle.values()) for name in ("core_percent", "megabytes")]
    lines.append(f"| **all** | **{total[0]:.1f}** | **{total[1]:.0f}** |")
    return "\n".join(lines)
