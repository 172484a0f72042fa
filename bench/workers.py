"""The compose platform with stock Prefect workers beside its own, all with the same empty flow."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.platforms import FINAL, JSON, ComposePlatform, copy_checkout, wait_for

OURS = "this worker"
STOCK = "stock worker"
STOCK_AT_OUR_PACE = "stock worker, polling as often"
_FLOW = "print-message"
_POOLS = {STOCK: "stock-pool", STOCK_AT_OUR_PACE: "stock-paced-pool"}
_SERVICES = {OURS: "worker", STOCK: "stock-worker", STOCK_AT_OUR_PACE: "stock-paced-worker"}

# The same image, server and git repository; what differs is what Prefect does when nobody sets anything.
_OVERLAY = "services:\n" + "".join(
    f"""  {_SERVICES[worker]}:
    extends: {{file: docker-compose.yaml, service: worker}}
    command: [prefect, worker, start, --pool, {_POOLS[worker]}, --type, process, --limit, "10"]
    environment: {{PREFECT_HOME: /tmp/prefect, PREFECT_WORKER_QUERY_SECONDS: "{seconds}"}}
    healthcheck: {{disable: true}}
    profiles: [stock]
"""
    for worker, seconds in ((STOCK, 10), (STOCK_AT_OUR_PACE, 2))
)


class Workers(ComposePlatform):
    """The platform without schedules, and a deployment of the empty flow for each worker."""

    def prepare(self) -> None:
        """Start everything, and let nothing run but what is measured."""
        (self.checkout / "docker-compose.override.yaml").write_text(_OVERLAY, encoding="utf-8")
        self.up()
        self.stop_schedules()
        self.must("docker", "compose", "--profile", "stock", "up", "--detach", "--no-build", *_POOLS_SERVICES)
        self._deployments = {OURS: self.api.deployments()[_FLOW]["id"]}
        for worker, pool in _POOLS.items():
            wait_for(f"{worker}", lambda pool=pool: self._is_online(pool), 120)
            self._deployments[worker] = self.deploy_flow(pool, pool)

    def deploy_flow(self, name: str, pool: str, schedules: list[JSON] | None = None) -> str:
        """Make a deployment of the empty flow in a work pool, and return its id."""
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
        path = f"deployments/{self._deployments[worker]}/create_flow_run"
        return self.api.post(path, {"state": {"type": "SCHEDULED"}})["id"]

    def ended(
        self, runs: list[str], *, timeout_seconds: float = 300, pause_seconds: float = 0.2
    ) -> list[JSON]:
        """Wait until all runs have ended, and return them; all must be Completed."""
        body = {"flow_runs": {"id": {"any_": runs}, "state": {"type": {"any_": sorted(FINAL)}}}}

        def all_ended() -> bool:
            return self.api.post("flow_runs/count", body) == len(runs)

        wait_for(f"end of {len(runs)} runs", all_ended, timeout_seconds, pause_seconds)
        found = self.api.everything("flow_runs/filter", body)
        failed = [run["name"] for run in found if run["state_type"] != "COMPLETED"]
        if failed:
            raise AssertionError(f"not Completed: {', '.join(failed)}")
        return found

    def worker_container(self, worker: str) -> str:
        """Return the id of a worker's container."""
        return self.container(_SERVICES[worker])


_POOLS_SERVICES = [_SERVICES[worker] for worker in _POOLS]


def seconds_between(began: float, moment: str) -> float:
    """Return the seconds from a wall-clock time to one of the API's timestamps."""
    return datetime.fromisoformat(moment).timestamp() - began


@contextmanager
def running_workers() -> Iterator[Workers]:
    """Bring the platform and the stock workers up, and remove all of it at the end."""
    with TemporaryDirectory(prefix="yeedu-bench-") as folder:
        checkout = Path(folder) / "yeedu-prefect"
        copy_checkout(checkout)
        workers = Workers(checkout)
        print("bringing the platform up on ports of its own, with two stock workers", flush=True)
        try:
            workers.prepare()
            yield workers
        finally:
            workers.must("docker", "compose", "--profile", "stock", "down", "--volumes")
