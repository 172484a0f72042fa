"""Runs the platform, in either form, with stock Prefect workers beside its own, and the same empty flow."""

import abc
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from typing_extensions import override

from bench import docker_stats, process_stats
from bench.usage import Usage
from local.processes.process_tree import TOKEN_VARIABLE
from tests.platforms import JSON, Api, ComposePlatform, LocalPlatform, Platform, copy_checkout, wait_for

OURS = "this worker"
STOCK = "stock worker"
STOCK_AT_OUR_PACE = "stock worker, polling as often"
_FLOW = "print-message"
_POOLS = {STOCK: "stock-pool", STOCK_AT_OUR_PACE: "stock-paced-pool"}
_SERVICES = {OURS: "worker", STOCK: "stock-worker", STOCK_AT_OUR_PACE: "stock-paced-worker"}
# Code, server and git repository are the same; the stock workers have Prefect's defaults.
_QUERY_SECONDS = {STOCK: "10", STOCK_AT_OUR_PACE: "2"}


def completed_runs(api: Api, runs: list[str], **waiting: float) -> list[JSON]:
    """Wait until all runs have ended, and return them; all must be Completed.

    Args:
        api: The server's API.
        runs: The ids of the runs.
        waiting: Options of `Api.ended`.
    """
    found = api.ended(runs, **waiting)
    failed = [run["name"] for run in found if run["state_type"] != "COMPLETED"]
    if failed:
        raise AssertionError(f"not Completed: {', '.join(failed)}")
    return found


def seconds_of(api: Api, runs: list[JSON]) -> float:
    """Return the seconds from when a worker took the first of some runs to the end of the last."""
    began = min(claimed_at(api, run["id"]) for run in runs)
    return max(seconds_between(began, run["end_time"]) for run in runs)


def claimed_at(api: Api, run: str) -> float:
    """Return when a worker took a run, in seconds since 1970; from then on, the run has costs."""
    states = api.get(f"flow_run_states/?flow_run_id={run}")
    pending = [state["timestamp"] for state in states if state["type"] == "PENDING"]
    return min(seconds_between(0, moment) for moment in pending)


class Workers(Platform):
    """The platform without schedules, and a deployment of the empty flow for each worker.

    Attributes:
        runs_at_once: How many flow runs each worker takes at a time.
        ticks_in_a_minute: The numbers of deployments to schedule, one after another.
    """

    runs_at_once = 10
    ticks_in_a_minute: tuple[int, ...] = (10, 100)

    def prepare(self) -> None:
        """Start everything, and let only what is measured run."""
        self.environment["WORKER_LIMIT"] = str(self.runs_at_once)
        self.up()
        self.stop_schedules()
        self._deployments = {OURS: self.api.deployments()[_FLOW]["id"]}
        self.start_stock_workers()
        for worker, pool in _POOLS.items():
            wait_for(f"{worker}", lambda pool=pool: self._is_online(pool), 120)
            self._deployments[worker] = self.deploy_flow(pool, pool)

    @abc.abstractmethod
    def start_stock_workers(self) -> None:
        """Start Prefect's own worker twice: polling at its default interval, and at ours."""

    def stock_command(self, worker: str) -> list[str]:
        """Return the command that starts Prefect's own worker."""
        limit = str(self.runs_at_once)
        return ["prefect", "worker", "start", "--pool", _POOLS[worker], "--type", "process", "--limit", limit]

    @abc.abstractmethod
    def meter(self, worker: str) -> Callable[[], Usage]:
        """Return a cheap function that tells what a worker and its flow runs have used so far."""

    @abc.abstractmethod
    def server_cpu_seconds(self) -> float:
        """Return the processor time that the server and its database have used so far."""

    def deploy_flow(self, name: str, pool: str, schedules: list[JSON] | None = None) -> str:
        """Create a deployment of the empty flow in a work pool, and return its id."""
        original = self.api.deployments()[_FLOW]
        fields = ("flow_id", "entrypoint", "path", "pull_steps", "parameter_openapi_schema")
        body = {field: original[field] for field in fields}
        body |= {"name": name, "work_pool_name": pool, "schedules": schedules or []}
        return self.api.post("deployments/", body)["id"]

    def _is_online(self, pool: str) -> bool:
        pools = [found["name"] for found in self.api.post("work_pools/filter")]
        if pool not in pools:
            return False
        workers = self.api.post(f"work_pools/{pool}/workers/filter")
        return any(worker["status"] == "ONLINE" for worker in workers)

    def trigger(self, worker: str) -> str:
        """Trigger one run of the worker's deployment, and return the run's id."""
        return self.api.trigger(self._deployments[worker])


class ComposeWorkers(Workers, ComposePlatform):
    """The workers in containers of the same image."""

    @override
    def start_stock_workers(self) -> None:
        services = {_SERVICES[worker]: self._stock_service(worker) for worker in _POOLS}
        overlay = self.checkout / "docker-compose.override.yaml"
        overlay.write_text(json.dumps({"services": services}), encoding="utf-8")
        self.must("docker", "compose", "--profile", "stock", "up", "--detach", "--no-build", *services)

    def _stock_service(self, worker: str) -> JSON:
        own = {
            "PREFECT_HOME": "/tmp/prefect",  # noqa: S108 - in the container
            "PREFECT_WORKER_QUERY_SECONDS": _QUERY_SECONDS[worker],
        }
        return {
            "extends": {"file": "docker-compose.yaml", "service": "worker"},
            "command": self.stock_command(worker),
            "environment": own,
            "healthcheck": {"disable": True},
            "profiles": ["stock"],
        }

    @override
    def meter(self, worker: str) -> Callable[[], Usage]:
        return partial(docker_stats.usage, self.container(_SERVICES[worker]))

    @override
    def server_cpu_seconds(self) -> float:
        services = ("server", "postgres")
        return sum(docker_stats.usage(self.container(service)).cpu_seconds for service in services)

    @override
    def remove(self) -> None:
        self.must("docker", "compose", "--profile", "stock", "down", "--volumes")


class LocalWorkers(Workers, LocalPlatform):
    """The workers as processes in the same environment, on SQLite."""

    # Stock workers complete about ten a minute here, and a benchmark should take three minutes at most.
    runs_at_once = 3
    ticks_in_a_minute = (10,)

    def __init__(self, checkout: Path) -> None:
        super().__init__(checkout)
        self._stock: dict[str, subprocess.Popen[bytes]] = {}

    @override
    def start_stock_workers(self) -> None:
        environment = process_stats.environment(self._pid("worker"))
        del environment[TOKEN_VARIABLE]  # otherwise they would count as the platform's own
        for worker, pool in _POOLS.items():
            home = self.checkout / ".local" / pool
            changed = {"PREFECT_HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": _QUERY_SECONDS[worker]}
            home.mkdir()
            with (home / "log").open("wb") as log:
                self._stock[worker] = subprocess.Popen(
                    self.stock_command(worker),
                    cwd=home,
                    env=environment | changed,
                    stdout=log,
                    stderr=log,
                )

    @override
    def meter(self, worker: str) -> Callable[[], Usage]:
        stock = self._stock.get(worker)
        return partial(process_stats.usage, stock.pid if stock else self._pid("worker"))

    @override
    def server_cpu_seconds(self) -> float:
        return process_stats.usage(self._pid("server")).cpu_seconds

    @override
    def remove(self) -> None:
        for process in self._stock.values():
            process_stats.kill_tree(process.pid)  # on a request to end, they may wait for ever
            process.wait()
        super().remove()

    def _pid(self, service: str) -> int:
        return process_stats.services(self.checkout)[service]


FORMS: dict[str, type[Workers]] = {"compose": ComposeWorkers, "local": LocalWorkers}


def seconds_between(began: float, moment: str) -> float:
    """Return the seconds from a wall-clock time to one of the API's timestamps."""
    return datetime.fromisoformat(moment).timestamp() - began


@contextmanager
def temporary_checkout() -> Iterator[Path]:
    """Yield a copy of this working tree, which exists for the duration of the `with` block."""
    with TemporaryDirectory(prefix="yeedu-bench-") as folder:
        checkout = Path(folder) / "yeedu-prefect"
        copy_checkout(checkout)
        yield checkout


@contextmanager
def running_workers(form: str) -> Iterator[Workers]:
    """Start the platform and the stock workers, and remove all of it at the end.

    Args:
        form: One of `FORMS`.
    """
    with temporary_checkout() as checkout:
        workers = FORMS[form](checkout)
        print(f"bringing the {form} platform up on ports of its own, with two stock workers", flush=True)
        try:
            workers.prepare()
            yield workers
        finally:
            workers.remove()
