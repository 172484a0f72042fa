"""The compose platform that faults are injected into, with a mock Yeedu that obeys tests."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from tests.platforms import FINAL, JSON, ComposePlatform, wait_for

TENANT = "0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e"
OVERLAY = """
services:
  yeedu-mock:
    environment: {YEEDU_MOCK_CONTROL: "on"}
  rescue:
    environment: {RESCUE_INTERVAL_SECONDS: "2"}
"""
KNOBS = {"RESCUE_PENDING_SECONDS": "45", "WORKER_GRACE_SECONDS": "15"}
HEARTBEAT_WINDOW_SECONDS = 90 + 30


@dataclass(frozen=True)
class YeeduJob:
    """A job on the mock: its name is its own, so that its runs can be counted."""

    name: str
    url: str


class Stack(ComposePlatform):
    """The platform, and what a test does to it."""

    def prepare(self) -> None:
        """Write the overlay and the knobs before the platform starts."""
        (self.checkout / "docker-compose.override.yaml").write_text(OVERLAY, encoding="utf-8")
        self.environment |= KNOBS

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose``."""
        return self.must("docker", "compose", *arguments)

    def kill(self, service: str) -> None:
        """End a service's container without a word."""
        self.compose("kill", "--signal", "SIGKILL", service)

    def start_service(self, service: str) -> None:
        """Start a service again and wait until it is healthy."""
        self.compose("start", service)
        wait_for(f"healthy {service}", lambda: self.health(service) == "healthy", 120)

    def health(self, service: str) -> str:
        """Return what Docker says about a service's health."""
        return self.must(
            "docker", "inspect", "--format", "{{.State.Health.Status}}", self.container(service)
        ).strip()

    @contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """Freeze a service for a while: it neither answers nor refuses."""
        self.compose("pause", service)
        try:
            yield
        finally:
            self.compose("unpause", service)

    # --- the mock Yeedu ---

    def control(self, method: str, path: str, body: JSON | None = None) -> Any:
        """Call the mock's control plane."""
        answer = requests.request(
            method, f"http://localhost:{self.mock_port}/_control/{path}", json=body, timeout=30
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def yeedu_job(self, seconds: float, *, text: str = "result") -> YeeduJob:
        """Add a job that takes so long and prints a text at its end."""
        name = f"job-{uuid.uuid4().hex[:12]}"
        program = f"import time; time.sleep({seconds}); print({text!r})"
        job_id = self.control("POST", "jobs", {"name": name, "program": program})["job_id"]
        return YeeduJob(name, f"http://yeedu-mock:8080/tenant/{TENANT}/workspace/1/spark/job/{job_id}")

    def remote_runs(self, job: YeeduJob) -> list[JSON]:
        """Return the runs of a job on the mock."""
        answer = requests.get(
            f"http://localhost:{self.mock_port}/", headers={"Accept": "application/json"}, timeout=30
        )
        return [run for run in answer.json()["runs"] if run["of"] == job.name]

    def start_yeedu(self, job: YeeduJob) -> str:
        """Start a flow run of a job and return its id."""
        return self.api.start("run-yeedu-job", {"job_url": job.url})

    def await_remote_run(self, job: YeeduJob) -> JSON:
        """Wait until the job runs on the mock."""
        return wait_for(
            "remote run",
            lambda: next((run for run in self.remote_runs(job) if run["run_status"] == "RUNNING"), None),
            120,
        )

    # --- flow runs ---

    def state(self, run_id: str) -> JSON:
        """Return a flow run's state."""
        return self.api.get(f"flow_runs/{run_id}")["state"]

    def await_state(self, run_id: str, *names: str, timeout_seconds: float = 120) -> JSON:
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

    def unfinished(self) -> list[JSON]:
        """Return the flow runs that are under way, those aside that are due later."""
        body = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}}
        return self.api.post("flow_runs/filter", body)


def seconds_since(began: float) -> str:
    """Return how long something took, for the table."""
    return f"{time.monotonic() - began:.0f} s"
