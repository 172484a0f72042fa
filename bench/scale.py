"""Measures what flow runs, tasks and Yeedu jobs cost each service, with one server and with several.

From these figures, in ``bench/costs.json``, `bench.sizing` computes what a platform of another size needs.
"""

import json
import os
import re
import time
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

from bench import docker_stats
from bench.machine import machine
from bench.sizing import ALONE, COSTS, SERVICES, Costs, Load, most_runs
from bench.throughput import MemoryPeak
from bench.usage import Usage
from bench.workers import completed_runs, seconds_of, temporary_checkout
from tests.platforms import JSON, ComposePlatform, commit, scaled_settings, wait_for

SERVERS = (1, 2, 3)
AT_ONCE = 10
_RUNS, _JOBS, _TASKS, _RUNS_OF_TASKS = 120, 40, 100, 4
_IDLE_SECONDS = 30.0
_FLOW = '''"""A flow with tasks that do nothing."""

from prefect import flow, task


@task
def nothing(number: int) -> int:
    """Do nothing."""
    return number


@flow
def many_tasks(count: int) -> None:
    """Run so many tasks, one after another."""
    for number in range(count):
        nothing(number)
'''
_DEPLOYMENT = """
  - name: many-tasks
    entrypoint: flows/many_tasks.py:many_tasks
    work_pool: *linux
"""

Spent = dict[str, float]
Figures = dict[str, Any]


class Cost(NamedTuple):
    """What runs cost.

    Attributes:
        cpu: CPU-seconds per run, by service.
        rate: Runs a minute.
        stored: Bytes in the database per run.
        megabytes: Memory of the worker per run in flight.
    """

    cpu: Spent
    rate: float
    stored: float
    megabytes: float


class Scaled(ComposePlatform):
    """The platform without schedules, with one server or several API servers."""

    def prepare(self) -> None:
        """Start it with one server, and with a deployment of `many_tasks`."""
        self.environment["WORKER_LIMIT"] = str(AT_ONCE)
        (self.checkout / "flows" / "many_tasks.py").write_text(_FLOW, encoding="utf-8")
        with (self.checkout / "deployer" / "prefect.yaml").open("a", encoding="utf-8") as file:
            file.write(_DEPLOYMENT)
        commit(self.checkout, "Add a flow with tasks")
        self.serve()

    def serve(self, servers: int = 0) -> None:
        """Continue with this many API servers; 0 for one server that does everything."""
        if servers:
            self.environment |= scaled_settings(servers)
        self.up()
        self.stop_schedules()

    def used(self) -> dict[str, Usage]:
        """Return what each service has used so far, all its containers together."""
        listing = self.must("docker", "compose", "ps", "--format", "{{.Service}} {{.ID}}")
        total: dict[str, Usage] = {}
        for service, container in re.findall(r"^(\S+) (\S+)$", listing, re.MULTILINE):
            if service in SERVICES:
                one, there = docker_stats.usage(container), total.get(service, Usage(0, 0))
                cpu, memory = one.cpu_seconds + there.cpu_seconds, one.memory_bytes + there.memory_bytes
                total[service] = Usage(cpu, memory)
        return total

    def idle(self) -> Spent:
        """Return the cores that each service uses while nothing is due."""
        before = self.used()
        time.sleep(_IDLE_SECONDS)  # the length defines the figures
        after = self.used()
        return {name: (after[name].cpu_seconds - before[name].cpu_seconds) / _IDLE_SECONDS for name in after}

    def cost(self, deployment: str, count: int, idle: Spent, parameters: JSON | None = None) -> Cost:
        """Trigger this many runs at once, and return what each of them costs."""
        deployment_id = self.api.deployments()[deployment]["id"]
        tasks = self._task_runs() + count * (parameters or {}).get("count", 0)
        worker = partial(docker_stats.usage, self.container("worker"))
        before, bytes_before, began = self.used(), self._stored(), time.monotonic()
        with MemoryPeak(worker) as peak:
            triggered = [self.api.trigger(deployment_id, parameters) for _ in range(count)]
            runs = completed_runs(self.api, triggered, pause_seconds=1)
        wait_for("states of all task runs", lambda: self._task_runs() >= tasks, 120, 0.5)
        seconds, after = time.monotonic() - began, self.used()
        cpu = {
            name: (after[name].cpu_seconds - before[name].cpu_seconds - idle[name] * seconds) / count
            for name in after
        }
        return Cost(
            {name: max(0.0, value) for name, value in cpu.items()},
            count / seconds_of(self.api, runs) * 60,
            (self._stored() - bytes_before) / count,
            (peak.most_bytes - before["worker"].memory_bytes) / AT_ONCE / 1e6,
        )

    def _stored(self) -> float:
        return float(self.sql("SELECT pg_database_size('prefect')"))

    def _task_runs(self) -> int:
        body = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        return self.api.post("task_runs/count", body)


def measure() -> Figures:
    """Measure what `bench.sizing` computes with, and write it to `COSTS`; see `bench.sizing.Costs`."""
    with temporary_checkout() as checkout:
        platform = Scaled(checkout)
        try:
            print("bringing up the platform on ports of its own", flush=True)
            platform.prepare()
            figures = _with_one(platform)
            for servers in SERVERS:
                print(f"with {servers} API servers", flush=True)
                platform.serve(servers)
                idle = platform.idle()
                _keep(figures, str(servers), idle, platform.cost("print-message", _RUNS, idle))
        finally:
            platform.command("make", "destroy", "YES=1")
    COSTS.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return figures


def _with_one(platform: Scaled) -> Figures:
    """Return the costs of one server that does everything, and of tasks and jobs."""
    idle, memory = platform.idle(), platform.used()
    run = platform.cost("print-message", _RUNS, idle)
    tasks = platform.cost("many-tasks", _RUNS_OF_TASKS, idle, {"count": _TASKS})
    job = platform.cost("run-yeedu-job", _JOBS, idle)
    figures: Figures = {
        "machine": f"{machine()}, Prefect {version('prefect')}",
        "cores": os.cpu_count(),
        "job": _beyond(job.cpu, run.cpu),
        "task": {name: cost / _TASKS for name, cost in _beyond(tasks.cpu, run.cpu).items()},
        "stored": {
            "run": run.stored,
            "job": max(0.0, job.stored - run.stored),
            "task": (tasks.stored - run.stored) / _TASKS,
        },
        "megabytes": {name: one.memory_bytes / 1e6 for name, one in memory.items()} | {"run": run.megabytes},
        **{name: {} for name in ("run", "idle", "rates")},
    }
    _keep(figures, ALONE, idle, run)
    return figures


def _keep(figures: Figures, form: str, idle: Spent, cost: Cost) -> None:
    figures["idle"][form], figures["run"][form], figures["rates"][form] = idle, cost.cpu, cost.rate


def _beyond(more: Spent, less: Spent) -> Spent:
    return {name: max(0.0, more[name] - less[name]) for name in less}


def table(figures: Figures) -> str:
    """Return the measured costs, and the rates beside the model's for this machine, as Markdown tables."""
    costs = Costs(**figures)
    names = [name for name in SERVICES if any(name in row for row in costs.run.values())]
    lines = [f"| CPU s of | {' | '.join(names)} | all |", "| --- |" + " --- |" * (len(names) + 1)]
    rows = [(f"an empty run, {_form(form)}", row) for form, row in costs.run.items()]
    for name, row in [*rows, ("a Yeedu job, beyond that", costs.job), ("a task", costs.task)]:
        cells = [f"{row[service]:.3f}" if service in row else "" for service in names]
        lines.append(f"| {name} | {' | '.join(cells)} | {sum(row.values()):.3f} |")
    lines += ["", "| empty runs a minute | measured | by the model |", "| --- | --- | --- |"]
    for form, rate in costs.rates.items():
        model = most_runs(costs, Load(1, tasks=0), None if form == ALONE else int(form), costs.cores)
        lines.append(f"| {_form(form)} | {rate:.0f} | {model:.0f} |")
    return "\n".join(lines)


def _form(form: str) -> str:
    return "one server" if form == ALONE else f"{form} API server{'s' if form != '1' else ''}"
