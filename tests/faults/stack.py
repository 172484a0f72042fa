"""The compose platform that faults are injected into, with a mock Yeedu that obeys tests."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import requests

from tests.platforms import FINAL, JSON, Api, ComposePlatform, brought_up, copy_checkout, wait_for

TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
WORKSPACE = f"http://yeedu-mock:8080/tenant/{TENANT}/workspace/1/spark"
# The database's disk and the worker's /tmp are small enough to be filled. The warehouse, which no test stops,
# holds the former: a tmpfs goes when nothing uses it.
OVERLAY = """
services:
  yeedu-mock:
    environment: {YEEDU_MOCK_CONTROL: "on"}
  rescue:
    environment: {RESCUE_INTERVAL_SECONDS: "2"}
  worker:
    tmpfs: !override ["/tmp:exec,size=256m"]
  warehouse:
    volumes: ["postgres-data:/var/lib/held:ro"]
volumes:
  postgres-data:
    driver_opts: {type: tmpfs, device: tmpfs, o: "size=700m,uid=999,gid=999,mode=0700"}
"""
# In place of those that the platform makes, so that what to look for is known; the mock's it makes itself.
# Not constants: this file is in the repository that the worker clones.
SECRETS = {
    "PREFECT_API_AUTH_STRING": f"faults:canary-{uuid.uuid4()}",
    "POSTGRES_PASSWORD": f"canary-{uuid.uuid4()}",
    "WAREHOUSE_PASSWORD": f"canary-{uuid.uuid4()}",
}
SETTINGS = {
    "RESCUE_PENDING_SECONDS": "90",
    "WORKER_GRACE_SECONDS": "15",
    "WORKER_LIMIT": "40",
    "POSTGRES_MEMORY": "2g",  # its disk is in memory too
}


AnyStack = TypeVar("AnyStack", bound="Stack")


@dataclass(frozen=True)
class YeeduJob:
    """A job or notebook on the mock: its name is its own, so that its runs can be counted."""

    name: str
    url: str


class Stack(ComposePlatform):
    """The platform, and what a test does to it."""

    def prepare(self) -> None:
        """Write the overlay and the settings before the platform starts."""
        (self.checkout / "docker-compose.override.yaml").write_text(OVERLAY, encoding="utf-8")
        self.environment |= SETTINGS | SECRETS
        self.api = Api(self.api.url, SECRETS["PREFECT_API_AUTH_STRING"])

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose``."""
        return self.must("docker", "compose", *arguments)

    def kill(self, service: str) -> None:
        """End a service's container without a word."""
        self.compose("kill", "--signal", "SIGKILL", service)

    def start_service(self, service: str) -> None:
        """Start a service again and wait until it is healthy, whatever those are that it depends on."""
        self.must("docker", "start", self.container(service))
        wait_for(f"healthy {service}", lambda: self.health(service) == "healthy", 240)

    def health(self, service: str) -> str:
        """Return what Docker says about a service's health."""
        return self.must(
            "docker", "inspect", "--format", "{{.State.Health.Status}}", self.container(service)
        ).strip()

    @contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """Freeze a service for a while: it neither answers nor refuses."""

        def froze() -> bool:  # which Docker gives up where processes of the service do not stand still soon
            return self.command("docker", "compose", "pause", service).returncode == 0

        wait_for(f"frozen {service}", froze, 120)
        try:
            yield
        finally:
            self.compose("unpause", service)

    @contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """Have text in a file of the checkout replaced, and that committed, for a while."""
        self.edit(file, old, new)
        try:
            yield
        finally:
            self.edit(file, new, old)

    @contextmanager
    def two_workers(self) -> Iterator[None]:
        """Have a second worker of the same name for a while."""
        scaled = ("up", "--detach", "--no-recreate", "--no-build", "--no-deps", "--scale")
        self.compose(*scaled, "worker=2", "worker")
        try:
            yield
        finally:
            self.compose(*scaled, "worker=1", "worker")

    def started_at(self, service: str) -> str:
        """Return when a service's container was started last."""
        return self.must("docker", "inspect", "--format", "{{.State.StartedAt}}", self.container(service))

    def address_of(self, service: str) -> str:
        """Return the address of a service's container in the platform's network."""
        template = f'{{{{(index .NetworkSettings.Networks "{self.network}").IPAddress}}}}'
        return self.must("docker", "inspect", "--format", template, self.container(service)).strip()

    @property
    def network(self) -> str:
        """The platform's network, as Docker calls it."""
        return f"{self.environment['COMPOSE_PROJECT_NAME']}_platform"

    # --- the mock Yeedu ---

    def control(self, method: str, path: str, body: JSON | None = None) -> Any:
        """Call the mock's control plane."""
        answer = requests.request(
            method, f"http://localhost:{self.mock_port}/_control/{path}", json=body, timeout=60
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    @contextmanager
    def yeedu_faults(self, *faults: JSON) -> Iterator[None]:
        """Put rules of the mock in force for as long as the block lasts."""
        for fault in faults:
            self.control("POST", "faults", fault)
        try:
            yield
        finally:
            self.control("DELETE", "faults")

    def yeedu_job(self, seconds: float, *, text: str = "result") -> YeeduJob:
        """Add a job that takes so long and prints a text at its end."""
        name = f"job-{uuid.uuid4().hex[:12]}"
        program = f"import time; time.sleep({seconds}); print({text!r})"
        job_id = self.control("POST", "jobs", {"name": name, "program": program})["job_id"]
        return YeeduJob(name, f"{WORKSPACE}/job/{job_id}")

    def yeedu_notebook(self, *cells: str) -> YeeduJob:
        """Add a notebook of such cells."""
        name = f"notebook-{uuid.uuid4().hex[:12]}"
        notebook_id = self.control("POST", "notebooks", {"name": name, "cells": cells})["notebook_id"]
        return YeeduJob(name, f"{WORKSPACE}/notebook/{notebook_id}")

    def remote_runs(self, job: YeeduJob) -> list[JSON]:
        """Return the runs of a job or notebook on the mock."""
        return [run for run in self.control("GET", "runs") if run["of"] == job.name]

    def submissions(self, since: int) -> list[JSON]:
        """Return the requests after the given one that asked the mock to run a job."""
        return [entry for entry in self._posts(since) if entry["path"].endswith("spark/job/run")]

    def stops(self, since: int) -> list[JSON]:
        """Return the requests after the given one that asked the mock to stop a run."""
        return [entry for entry in self._posts(since) if "/run/stop/" in entry["path"]]

    def _posts(self, since: int) -> list[JSON]:
        entries = self.control("GET", f"journal?since={since}")
        return [entry for entry in entries if entry["method"] == "POST"]

    def last_request(self) -> int:
        """Return the number of the latest request that the mock has entered."""
        return max((entry["number"] for entry in self.control("GET", "journal")), default=0)

    def start_yeedu(self, job: YeeduJob, deployment: str = "") -> str:
        """Start a flow run of a job or notebook and return its id."""
        kind = job.name.partition("-")[0]
        return self.api.start(deployment or f"run-yeedu-{kind}", {f"{kind}_url": job.url})

    def await_remote_run(self, job: YeeduJob) -> JSON:
        """Wait until the job runs on the mock."""
        return wait_for(
            "remote run",
            lambda: next((run for run in self.remote_runs(job) if run["run_status"] == "RUNNING"), None),
            240,
        )

    def start_running(self, job: YeeduJob) -> str:
        """Start a flow run of a job or notebook, and return its id once that runs on the mock."""
        run_id = self.start_yeedu(job)
        self.await_remote_run(job)
        return run_id

    # --- flow runs ---

    def deploy_copy(self, name: str, of: str, **fields: Any) -> JSON:
        """Register one more deployment of another one's flow, with what differs, and return it."""
        original = self.api.deployments()[of]
        same = ("flow_id", "work_pool_name", "entrypoint", "pull_steps", "parameters", "tags")
        return self.api.post("deployments/", {**{key: original[key] for key in same}, "name": name, **fields})

    def foreign_runs(self) -> dict[str, str]:
        """Make flow runs as another team's Docker worker has them, and return their states by their ids.

        The one starts, since its image is pulled; the others beat every three minutes, or not at all.
        """
        self.api.post("work_pools/", {"name": "elsewhere", "type": "docker", "base_job_template": {}})
        flow = self.api.post("flows/", {"name": "elsewhere"})["id"]
        deployment = {"name": "elsewhere", "flow_id": flow, "work_pool_name": "elsewhere"}
        path = f"deployments/{self.api.post('deployments/', deployment)['id']}/create_flow_run"
        found: dict[str, str] = {}
        for state in ("PENDING", "RUNNING", "RUNNING"):
            run_id = self.api.post(path, {"state": {"type": "PENDING"}})["id"]
            labels = {"prefect.worker.name": "docker-worker", "prefect.worker.type": "docker"}
            self.api.patch(f"flow_runs/{run_id}/labels", labels)
            if state == "RUNNING":
                self.api.post(f"flow_runs/{run_id}/set_state", {"state": {"type": state}})
            found[run_id] = state.capitalize()
        beat = {
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        }
        answer = self.api.ask("POST", "events", [{**beat, "occurred": datetime.now(UTC).isoformat()}])
        answer.raise_for_status()
        return found

    def slots_taken(self) -> dict[str, float]:
        """Return the slots of every concurrency limit that flow runs hold."""
        limits = self.api.post("v2/concurrency_limits/filter")
        return {limit["name"]: limit["active_slots"] for limit in limits if limit["active_slots"]}

    @contextmanager
    def ticking(self, name: str, of: str, *, seconds: int) -> Iterator[str]:
        """Have a deployment with a schedule for a while; yield its name."""
        schedule = {"interval": seconds, "anchor_date": "2026-01-01T00:00:00+00:00"}
        deployment = self.deploy_copy(name, of, schedules=[{"schedule": schedule, "active": True}])
        try:
            yield name
        finally:
            self.api.delete(f"deployments/{deployment['id']}")

    def heartbeats(self, run_id: str) -> list[datetime]:
        """Return when the server has received the heartbeats of a flow run."""
        wanted = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run_id}"]},
            "order": "ASC",
        }
        events = self.api.post("events/filter", {"filter": wanted, "limit": 50})["events"]
        return [datetime.fromisoformat(event["received"]) for event in events]

    def await_idle_workers(self) -> None:
        """Wait until no worker has a folder of a flow's process any more."""
        listing = "ls -d /tmp/tmp*prefect /tmp/yeedu-run-* 2>/dev/null | wc -l"

        def is_idle() -> bool:
            containers = self.compose("ps", "--quiet", "worker").split()
            counts = [self.must("docker", "exec", one, "sh", "-c", listing) for one in containers]
            return not any(map(int, counts))

        wait_for("idle workers", is_idle, 240)

    def state(self, run_id: str) -> JSON:
        """Return a flow run's state."""
        return self.api.get(f"flow_runs/{run_id}")["state"]

    def await_state(self, run_id: str, *names: str, timeout_seconds: float = 240) -> JSON:
        """Wait until a flow run is in one of the states, by name or type."""

        def look() -> JSON | None:
            state = self.state(run_id)
            return state if {state["name"], state["type"]} & set(names) else None

        try:
            return wait_for(f"{' or '.join(names)} of run {run_id}", look, timeout_seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; its history: {self.history(run_id)}") from None

    def history(self, run_id: str) -> list[str]:
        """Return every state that a flow run has had, with its message."""
        states = self.api.get(f"flow_run_states/?flow_run_id={run_id}")
        return [
            f"{state['name']}: {state['message'] or ''}"
            for state in sorted(states, key=lambda state: state["timestamp"])
        ]

    def names(self, run_id: str) -> list[str]:
        """Return the names of every state that a flow run has had."""
        return [line.partition(":")[0] for line in self.history(run_id)]

    def finished(self, run_id: str, timeout_seconds: float = 240) -> JSON:
        """Wait for a state that stays: a crash that is retried does not."""

        def look() -> JSON | None:
            run = self.api.get(f"flow_runs/{run_id}")
            return run if run["state_type"] in FINAL - {"CRASHED"} else None

        try:
            return wait_for(f"end of run {run_id}", look, timeout_seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; its history: {self.history(run_id)}") from None

    def succeeded(self, run_id: str, timeout_seconds: float = 240) -> JSON:
        """Wait for a flow run's end, which has to be a good one."""
        run = self.finished(run_id, timeout_seconds)
        assert run["state_type"] == "COMPLETED", (self.history(run_id), self.api.log(run_id)[-2000:])
        return run

    def failed(self, run_id: str, timeout_seconds: float = 90) -> tuple[JSON, str]:
        """Wait for a flow run's end, which has to be a bad one; return the run and all that is told of it."""
        run = self.api.finished(run_id, timeout_seconds)
        told = "\n".join([*self.history(run_id), self.api.log(run_id)])
        assert run["state_type"] in {"FAILED", "CRASHED"}, told
        return run, told

    def unfinished(self) -> list[JSON]:
        """Return the flow runs that are under way, those aside that are due later."""
        body = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}}
        return self.api.post("flow_runs/filter", body)


@contextmanager
def quiet(kind: type[AnyStack], folder: Path, log: str) -> Iterator[AnyStack]:
    """Have a platform up, in a checkout of its own, without schedules that start runs of their own."""
    checkout = folder / "yeedu-prefect"
    copy_checkout(checkout)
    stack = kind(checkout)
    stack.prepare()
    with brought_up(stack, log, lines=2000):
        stack.stop_schedules()
        yield stack


def seconds_since(began: float) -> str:
    """Return how long something took, for the table."""
    return f"{time.monotonic() - began:.0f} s"
