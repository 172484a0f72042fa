"""A real Prefect server with a login and CSRF protection, and the rules on a clock of the test's own."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.prefect_process import PrefectProcess
from yeedu_rescue.rounds import Rounds
from yeedu_rescue.server import Server
from yeedu_rescue.settings import Settings

JSON = dict[str, Any]
AUTH_STRING = "admin:secret-of-the-test"


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    server = PrefectProcess(
        tmp_path_factory.mktemp("prefect"),
        {
            "PREFECT_SERVER_API_AUTH_STRING": AUTH_STRING,
            "PREFECT_API_AUTH_STRING": AUTH_STRING,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        },
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


class ShiftedServer(Server):
    """The server, whose clock the test moves on."""

    shift = timedelta()

    def time(self) -> datetime:
        return super().time() + self.shift


@dataclass
class Scene:
    """The service's rules on a clock of their own, and what the test does to flow runs meanwhile."""

    server: ShiftedServer
    settings: Settings
    elapsed_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.rounds = self.rescuer()

    def rescuer(self) -> Rounds:
        """Return one more service, newly started."""
        return Rounds(self.server, self.settings, self.clock)

    def clock(self) -> float:
        return time.monotonic() + self.elapsed_seconds

    def skip_time(self, seconds: float) -> None:
        """Move both clocks on, without a round."""
        self.elapsed_seconds += seconds
        self.server.shift += timedelta(seconds=seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a round at once and every few seconds from then on."""
        self.rounds.go()
        while seconds > 0:
            step_seconds = min(seconds, 20.0)
            seconds -= step_seconds
            self.skip_time(step_seconds)
            self.rounds.go()
            assert self.rounds.trouble == ""

    def deployment(self, *tags: str, limit: int | None = None) -> str:
        """Make a deployment in a work pool and return its id."""
        name = uuid.uuid4().hex
        pool = self.server.post("/work_pools/", {"name": name, "type": "process", "base_job_template": {}})
        flow = self.server.post("/flows/", {"name": name})
        body = {"name": name, "flow_id": flow["id"], "work_pool_name": pool["name"], "tags": list(tags)}
        if limit:
            body["concurrency_limit"] = limit
        return self.server.post("/deployments/", body)["id"]

    def run(self, *states: str, deployment: str | None = None, tags: tuple[str, ...] = ()) -> str:
        """Make a flow run, lead it through states, and return its id."""
        path = f"/deployments/{deployment or self.deployment(*tags)}/create_flow_run"
        run_id = self.server.post(path, {"state": {"type": "SCHEDULED"}})["id"]
        for state in states:
            self.set_state(run_id, state)
        return run_id

    def run_without_deployment(self, *states: str) -> str:
        flow = self.server.post("/flows/", {"name": uuid.uuid4().hex})
        run_id = self.server.post("/flow_runs/", {"flow_id": flow["id"], "state": {"type": "PENDING"}})["id"]
        for state in states:
            self.set_state(run_id, state)
        return run_id

    def set_state(self, run_id: str, state: str) -> JSON:
        return self.server.post(f"/flow_runs/{run_id}/set_state", {"state": {"type": state}})

    def beat(self, run_id: str, *, clock_ahead_seconds: float = 0.0) -> None:
        """Send a heartbeat as the run's process does, and wait until it can be read."""
        at = datetime.now(UTC) + timedelta(seconds=clock_ahead_seconds)
        event = {
            "id": str(uuid.uuid4()),
            "occurred": at.isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        }
        self.server.post("/events", [event])
        self.await_event({"id": {"id": [event["id"]]}})
        self.server.shift = timedelta()  # the event was received now, on the real clock

    def await_event(self, conditions: JSON) -> JSON:
        until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            body = {"filter": {**conditions, "occurred": {"until": until}}, "limit": 1}
            found = self.server.post("/events/filter", body)["events"]
            if found:
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"no event {conditions}")

    def await_probe(self, run_id: str) -> None:
        """Wait until the question that the service asked by an event has come through."""
        self.await_event(
            {
                "event": {"name": ["yeedu-prefect.rescue.silence"]},
                "resource": {"id": [f"prefect.flow-run.{run_id}"]},
            }
        )

    def state(self, run_id: str) -> JSON:
        return self.server.get(f"/flow_runs/{run_id}")["state"]

    def messages(self, run_id: str) -> list[str]:
        return [
            state["message"] or "" for state in self.server.get(f"/flow_run_states/?flow_run_id={run_id}")
        ]


@pytest.fixture
def scene(prefect: PrefectProcess) -> Scene:
    """A newly started service and a server without flow runs."""
    scene = Scene(ShiftedServer(prefect.url, AUTH_STRING), Settings(prefect.url, AUTH_STRING))
    for run in list(scene.server.pages("/flow_runs/filter", {})):
        scene.server.delete(f"/flow_runs/{run['id']}")
    scene.rounds.go()
    return scene
