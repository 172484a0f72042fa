"""Stock Prefect, of this platform's version: a server on Postgres, and a process worker.

From Prefect's own pages "Self-hosted", "Workers" and "How to detect and respond to zombie flows": Postgres, a
worker with a limit that polls every 2 s (10 by default), heartbeats every 30 s, and the automation that sets
a run to *Crashed* after 90 s without one. That advice does not include a retry of crashed runs. Analytics are
off.
"""

from datetime import datetime

from typing_extensions import override

from bench.peers.peer import AT_ONCE, FLOWS, PAUSE_SECONDS, Peer, all_must_be
from tests.platforms import JSON, Api, free_port

FLOW_NAMES = ("empty", "tick", "light", "heavy", "long")
_EVERY_MINUTE = {"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}}
_POOL = "pool"
_EVENT = "prefect.flow-run."
_ENDS = ["Completed", "Failed", "Cancelled", "Crashed"]
_ZOMBIES: JSON = {
    "name": "crash-zombies",
    "enabled": True,
    "trigger": {
        "type": "event",
        "after": [f"{_EVENT}heartbeat"],
        "expect": [f"{_EVENT}heartbeat", *(f"{_EVENT}{end}" for end in _ENDS)],
        "match": {"prefect.resource.id": [f"{_EVENT}*"]},
        "for_each": ["prefect.resource.id"],
        "posture": "Proactive",
        "threshold": 1,
        "within": 90,
    },
    "actions": [{"type": "change-flow-run-state", "state": "CRASHED", "message": "no heartbeat"}],
}


class OnPrefect(Peer):
    """A peer with Prefect's API.

    Attributes:
        api: The client of its API.
        deployments: The ids of the deployments, by the flow's name.
    """

    api: Api
    deployments: dict[str, str]

    @override
    def trigger(self, flow: str) -> str:
        return self.api.trigger(self.deployments[flow])

    @override
    def wait(self, runs: list[str], timeout_seconds: float) -> list[float]:
        found = self.api.ended(runs, timeout_seconds=timeout_seconds, pause_seconds=PAUSE_SECONDS)
        all_must_be("Completed", [run["state_name"] for run in found])
        return [datetime.fromisoformat(run["end_time"]).timestamp() for run in found]

    @override
    def start_ticks(self) -> None:
        self.api.ask(
            "POST", f"deployments/{self.deployments['tick']}/schedules", [_EVERY_MINUTE]
        ).raise_for_status()


class StockPrefect(OnPrefect):
    """Prefect's server and its process worker, without changes."""

    name = "stock Prefect"
    key = "prefect"
    consists_of = "server, process worker, Postgres"
    process_per_run = True
    saturation_runs = 20

    @override
    def start(self) -> None:
        port = free_port()
        self.api = Api(f"http://127.0.0.1:{port}/api")
        server = {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{self.processes.postgres()}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        }
        worker = {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_URL": self.api.url,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        }
        prefect = str(self.installed() / "bin" / "prefect")
        start_server = [prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self.processes.start("server", start_server, self.environment() | server)
        self.until("answer of Prefect", lambda: bool(self.api.ask("GET", "ready").ok))
        self.api.post("work_pools/", {"name": _POOL, "type": "process"})
        self.api.post("automations/", _ZOMBIES)
        self.deployments = {flow: self._deploy(flow) for flow in FLOW_NAMES}
        limit = ("--limit", str(AT_ONCE))
        start_worker = [prefect, "worker", "start", "--pool", _POOL, "--type", "process", *limit]
        self.processes.start("worker", start_worker, self.environment() | worker)

        def is_online() -> bool:
            return any(
                found["status"] == "ONLINE" for found in self.api.post(f"work_pools/{_POOL}/workers/filter")
            )

        self.until("worker", is_online)

    def _deploy(self, flow: str) -> str:
        body = {
            "name": flow,
            "flow_id": self.api.post("flows/", {"name": flow})["id"],
            "entrypoint": f"prefect_flows.py:{flow}",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(FLOWS)}}],
            "work_pool_name": _POOL,
        }
        return self.api.post("deployments/", body)["id"]

    @override
    def kill_worker(self) -> None:
        self.processes.restart_killed("worker")
