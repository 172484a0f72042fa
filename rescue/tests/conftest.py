"""A real Prefect server with a login and CSRF protection, and the rules on a clock of the test's own."""

import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

# Tests are imported without packages, so what they share needs a place that Python searches.
sys.path.append(str(Path(__file__).parent / "support"))

from between import Between, between
from shifted_server import ShiftedServer

from tests.prefect_process import PrefectProcess
from yeedu_rescue.flow_runs import HEARTBEAT_LABEL, WORKER_LABEL
from yeedu_rescue.reconciler import Reconciler
from yeedu_rescue.settings import Settings

JSON = dict[str, Any]
AUTH_STRING = "admin:secret-of-the-test"
OURS, OTHER = "ours", "another team's"


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectProcess]:
    with PrefectProcess(
        tmp_path_factory.mktemp("prefect"),
        {
            "PREFECT_SERVER_API_AUTH_STRING": AUTH_STRING,
            "PREFECT_API_AUTH_STRING": AUTH_STRING,
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.2",
        },
    ) as server:
        yield server


@dataclass
class Scene:
    """The service's rules on a clock of their own, and what the test does to flow runs meanwhile.

    Attributes:
        server: As the test and the flow runs see it.
        watched: As the service sees it.
        elapsed_seconds: By which both clocks are ahead.
    """

    server: ShiftedServer
    watched: ShiftedServer
    settings: Settings
    elapsed_seconds: float = 0.0
    _come_through: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self.reconciler = self.rescuer()

    def rescuer(self) -> Reconciler:
        """Return one more service, newly started."""
        return Reconciler(self.watched, self.settings, self.clock)

    def clock(self) -> float:
        return time.monotonic() + self.elapsed_seconds

    def skip_time(self, seconds: float) -> None:
        """Move both clocks on, without a round."""
        self.elapsed_seconds += seconds
        self.server.shift += timedelta(seconds=seconds)
        self.watched.shift = self.server.shift

    def pass_time(
        self,
        seconds: float,
        *,
        step_seconds: float = 20.0,
        alive: Sequence[str] = (),
        beats_seconds: float = 30.0,
        has_trouble: bool = False,
    ) -> None:
        """Let time pass, with a round at once and every few seconds from then on.

        Reconciler take their own time, on a busy machine much of it: so much less is skipped.

        Args:
            seconds: How much.
            step_seconds: Between two rounds.
            alive: Runs that send heartbeats meanwhile.
            beats_seconds: How often they do.
            has_trouble: Whether something fails meanwhile.
        """
        self.run_once()
        began = self.clock()
        until, beat_at = began + seconds, began + beats_seconds
        while (left_seconds := until - self.clock()) > 0:
            self.skip_time(min(step_seconds, left_seconds))
            if self.clock() >= beat_at:
                beat_at += beats_seconds
                for run_id in alive:
                    self.beat(run_id)
            self.run_once()
            assert has_trouble or self.reconciler.failures == []

    def run_once(self) -> None:
        """Do a round, and wait until what the service asked by events has come through."""
        self.reconciler.run_once()
        for event in self.watched.received.keys() - self._come_through:
            self.await_event({"id": {"id": [event]}})
            self._come_through.add(event)

    def deployment(self, *tags: str, limit: int | None = None, pool_type: str = "process") -> str:
        """Make a deployment in a work pool and return its id."""
        name = uuid.uuid4().hex
        pool = self.server.post("/work_pools/", {"name": name, "type": pool_type, "base_job_template": {}})
        flow = self.server.post("/flows/", {"name": name})
        body = {"name": name, "flow_id": flow["id"], "work_pool_name": pool["name"], "tags": list(tags)}
        if limit:
            body["concurrency_limit"] = limit
        return self.server.post("/deployments/", body)["id"]

    def run(
        self,
        *states: str,
        deployment: str | None = None,
        tags: tuple[str, ...] = (),
        worker: str = OURS,
        pool_type: str = "process",
    ) -> str:
        """Make a flow run, lead it through states, and return its id.

        Args:
            states: Their types.
            deployment: Its deployment; by default one of its own.
            tags: Of that one.
            worker: Who takes it; empty for nobody who says so.
            pool_type: Of the work pool of a deployment of its own.
        """
        path = f"/deployments/{deployment or self.deployment(*tags, pool_type=pool_type)}/create_flow_run"
        run_id = self.server.post(path, {"state": {"type": "SCHEDULED"}})["id"]
        for state in states:
            self.set_state(run_id, state)
            if state == "PENDING" and worker:
                self.claim(run_id, worker)
        return run_id

    def claim(self, run_id: str, worker: str) -> None:
        """Write on a run what a worker writes that takes it."""
        labels: JSON = {"prefect.worker.name": worker, "prefect.worker.type": "process"}
        if worker == OURS:
            labels |= {WORKER_LABEL: worker, HEARTBEAT_LABEL: 30}
        self.server.patch(f"/flow_runs/{run_id}/labels", labels)

    def pool_of(self, run_id: str) -> str:
        return self.server.get(f"/flow_runs/{run_id}")["work_pool_name"]

    def note_worker(self, run_id: str, worker: str) -> None:
        """Have the server note that a worker of a run's pool is there."""
        heartbeat = {"name": worker, "heartbeat_interval_seconds": 600}  # more than a test takes
        self.server.post(f"/work_pools/{self.pool_of(run_id)}/workers/heartbeat", heartbeat)

    def start_worker(self, run_id: str, worker: str) -> None:
        """Start the worker of a run's pool, as a new process of an old name."""
        self.note_worker(run_id, worker)
        pool = self.pool_of(run_id)
        event = {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "prefect.worker.started",
            "resource": {
                "prefect.resource.id": f"prefect.worker.process.{worker}",
                "prefect.resource.name": worker,
            },
            "related": [
                {
                    "prefect.resource.id": f"prefect.work-pool.{pool}",
                    "prefect.resource.role": "work-pool",
                    "prefect.resource.name": pool,
                }
            ],
        }
        self.server.post("/events", [event])
        self.await_event({"id": {"id": [event["id"]]}})

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
        at = datetime.now(UTC) + self.server.shift + timedelta(seconds=clock_ahead_seconds)
        event = {
            "id": str(uuid.uuid4()),
            "occurred": at.isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        }
        self.server.post("/events", [event])
        self.await_event({"id": {"id": [event["id"]]}})

    def await_event(self, conditions: JSON) -> JSON:
        until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        deadline = time.monotonic() + 60
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
    return scene_before(prefect, prefect.url)


@pytest.fixture
def obstacles(prefect: PrefectProcess) -> Iterator[Between]:
    """What the service may meet on its way to the server."""
    with between(prefect.url) as passage:
        yield passage


@pytest.fixture
def hindered(prefect: PrefectProcess, obstacles: Between, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A scene whose service, and nobody else, meets obstacles; a busy server is asked again at once."""
    monkeypatch.setattr("yeedu_rescue.server._PAUSES_SECONDS", (0.0, 0.0, 0.0))
    return scene_before(prefect, obstacles.url)


def scene_before(prefect: PrefectProcess, watched_url: str) -> Scene:
    received: dict[str, timedelta] = {}
    server, watched = (ShiftedServer(url, received, AUTH_STRING) for url in (prefect.url, watched_url))
    scene = Scene(server, watched, Settings(watched_url, AUTH_STRING))
    for run in list(server.pages("/flow_runs/filter", {})):
        server.delete(f"/flow_runs/{run['id']}")
    for pool in list(server.pages("/work_pools/filter", {})):
        server.delete(f"/work_pools/{pool['name']}")
    scene.reconciler.run_once()
    return scene
