"""API servers, the process of services and Redis die, one after the other, while flow runs are in flight."""

import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from tests.faults.conftest import Row
from tests.faults.stack import seconds_since
from tests.platforms import wait_for
from tests.scaled_server import ScaledServer, environment

pytestmark = [pytest.mark.docker, pytest.mark.short, pytest.mark.timeout(600)]

TICK_SECONDS = 5
# Runs one flow after the other until its standard input ends, and says how each went.
CLIENT = """
import select, sys, time
from prefect import flow, task

@task
def step(number):
    time.sleep(1)
    return number

@flow
def in_flight():
    return sum(step(number) for number in range(3))

while not select.select([sys.stdin], [], [], 0)[0]:
    state = in_flight(return_state=True)
    print(state.state_details.flow_run_id, state.type.value, flush=True)
"""


class Flights:
    """Flow runs, one after the other, of a client that reaches the API servers through one address."""

    def __init__(self, server: ScaledServer, home: Path) -> None:
        self._file = home / "flights"
        settings = {"PREFECT_API_URL": server.api.url, "PREFECT_LOGGING_LEVEL": "WARNING"}
        with self._file.open("wb") as out, (home / "client.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CLIENT],
                env=environment(home / "client", settings),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=log,
            )

    def ended(self) -> dict[str, str]:
        """Return the state in which each flow run ended, by its id."""
        return dict(line.split() for line in self._file.read_text().splitlines())

    def await_more(self, count: int = 2) -> None:
        """Wait until so many more flow runs have ended, of which the first has begun before."""
        wanted = len(self.ended()) + count

        def has_more() -> bool:
            assert self.process.poll() is None
            return len(self.ended()) >= wanted

        wait_for(f"{count} more flow runs", has_more, 120, 0.1)

    def land(self) -> dict[str, str]:
        """Let the last one end, and return all."""
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(timeout=120) == 0
        return self.ended()


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScaledServer]:
    """Two API servers and services, with a deployment that ticks."""
    with ScaledServer(tmp_path_factory.mktemp("scaled")) as server:
        yield server


@pytest.fixture(scope="module")
def flights(scaled: ScaledServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flights]:
    """Flow runs in flight; at the end, none of them was lost and none ran twice."""
    flights = Flights(scaled, tmp_path_factory.mktemp("client"))
    try:
        flights.await_more(1)
        yield flights
    finally:
        flights.process.kill()
        flights.process.communicate()


def deployed(server: ScaledServer, name: str, *, ticks: bool = True) -> str:
    """Register a deployment that nobody runs, and return its id."""
    flow = server.api.post("flows/", {"name": name})["id"]
    schedule = {"interval": TICK_SECONDS, "anchor_date": "2026-01-01T00:00:00+00:00"}
    schedules = [{"schedule": schedule, "active": True}] if ticks else []
    return server.api.post("deployments/", {"name": name, "flow_id": flow, "schedules": schedules})["id"]


def await_ticks(server: ScaledServer, name: str) -> str:
    """Wait for a deployment's ticks; there is one of each, from the first on. Return how long it took."""
    began = time.monotonic()
    wait_for(f"ticks of {name}", lambda: server.api.runs(name), 120, 0.2)
    time_of = [
        datetime.fromisoformat(run["expected_start_time"]).timestamp() for run in server.api.runs(name)
    ]
    ticks = Counter(round(time_ / TICK_SECONDS) for time_ in time_of)
    assert set(ticks.values()) == {1}, ticks
    assert sorted(ticks) == list(range(min(ticks), max(ticks) + 1)), "a tick is missing"
    return seconds_since(began)


def missing_task_runs(server: ScaledServer, flow_runs: Collection[str]) -> int:
    """Return how many task runs of these flow runs are not known to have Completed."""
    known = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    done = Counter(run["flow_run_id"] for run in server.api.everything("task_runs/filter", known))
    return sum(3 - done[run_id] for run_id in flow_runs)


@pytest.mark.fault(21)
def test_runs_go_on_when_an_api_server_is_killed(scaled: ScaledServer, flights: Flights, row: Row) -> None:
    row.injected = "one of two API servers is killed, while flow runs are in flight"
    scaled.servers[0].end(signal.SIGKILL)
    began = time.monotonic()
    flights.await_more()
    row.held.append(f"the next two flow runs ended within {seconds_since(began)}")


@pytest.mark.fault(22)
def test_services_that_are_started_twice_do_nothing_twice(
    scaled: ScaledServer, flights: Flights, row: Row
) -> None:
    row.injected = "services are started a second time; 20 events come, each of which an automation acts on"
    deployment = deployed(scaled, "acted-on", ticks=False)
    trigger = {"type": "event", "posture": "Reactive", "expect": ["twice.come"], "threshold": 1, "within": 0}
    action = {"type": "run-deployment", "source": "selected", "deployment_id": deployment}
    scaled.api.post("automations/", {"name": "act", "trigger": trigger, "actions": [action]})
    scaled.second.start()
    scaled.second.await_healthy()
    deployed(scaled, "scheduled-by-two")
    event = {"event": "twice.come", "occurred": datetime.now(UTC).isoformat()}
    event["resource"] = {"prefect.resource.id": "twice.resource"}  # type: ignore[assignment]
    events = [{**event, "id": str(uuid.uuid4())} for _ in range(20)]
    assert scaled.api.ask("POST", "events", events).ok
    wait_for("20 acts", lambda: len(scaled.api.runs("acted-on")) >= 20, 60)
    await_ticks(scaled, "scheduled-by-two")
    came = {"filter": {"event": {"name": ["twice.come"]}}, "limit": 50}
    wait_for("20 events", lambda: scaled.api.post("events/filter", came)["total"] >= 20, 60)
    assert len(scaled.api.runs("acted-on")) == 20
    assert scaled.api.post("events/filter", came)["total"] == 20
    assert scaled.services.is_healthy()
    row.held.append("20 events are kept, 20 flow runs were started, and each tick has one flow run")


@pytest.mark.fault(22)
def test_services_that_are_killed_lose_and_double_no_tick(
    scaled: ScaledServer, flights: Flights, row: Row
) -> None:
    row.injected = "both services are killed as a new deployment with a schedule comes; one is started again"
    deployed(scaled, "comes-meanwhile")
    for part in (scaled.services, scaled.second):
        part.end(signal.SIGKILL)
    flights.await_more(1)  # which needs no services
    scaled.services.start()
    scaled.services.await_healthy()
    row.held.append(
        f"its ticks were there {await_ticks(scaled, 'comes-meanwhile')} after services were healthy"
    )
    await_ticks(scaled, "scheduled-by-two")
    row.held.append("each tick of two deployments has exactly one flow run")


@pytest.mark.fault(20)
def test_redis_that_is_killed_is_waited_for(scaled: ScaledServer, flights: Flights, row: Row) -> None:
    row.injected = "Redis is killed while flow runs are in flight, and started again"
    scaled.redis.kill()

    def make() -> requests.Response:
        return scaled.api.ask("POST", "flows/", {"name": "made"})

    [refused] = wait_for("word of it", lambda: [one for one in [make()] if one.status_code == 503], 30, 0.1)
    assert refused.json() == {"exception_message": "Redis does not answer"}
    assert refused.headers["Prefect-Maintenance"] == "true"
    scaled.redis.start()
    began = time.monotonic()
    wait_for("answer", lambda: make().ok, 30, 0.1)
    row.held.append(f"clients were asked to wait, and answered {seconds_since(began)} after its return")
    flights.await_more()
    ended = flights.ended()
    with suppress(AssertionError):  # told below
        wait_for("state of each task run", lambda: not missing_task_runs(scaled, ended), 90)
    assert missing_task_runs(scaled, ended) == 0
    row.held.append(
        f"{len(ended)} flow runs so far, and the state of each of their {3 * len(ended)} task runs"
    )


@pytest.mark.long
@pytest.mark.fault(20)
def test_redis_that_is_emptied_is_filled_again(scaled: ScaledServer, flights: Flights, row: Row) -> None:
    row.injected = "everything in Redis is deleted while flow runs are in flight, and somebody holds a slot"
    scaled.api.post("v2/concurrency_limits/", {"name": "held", "limit": 1, "active": True})
    taking = {"names": ["held"], "slots": 1, "mode": "concurrency", "lease_duration": 3600}
    assert scaled.api.ask("POST", "v2/concurrency_limits/increment-with-lease", taking).ok

    def is_free() -> bool:
        return not scaled.api.get("v2/concurrency_limits/held")["active_slots"]

    assert not is_free()
    scaled.wipe_redis()
    wait_for("free slot", is_free, 60)
    assert scaled.api.ask("POST", "v2/concurrency_limits/increment-with-lease", taking).ok
    deployed(scaled, "after-the-wipe")
    row.held.append(f"a new deployment's ticks were there after {await_ticks(scaled, 'after-the-wipe')}")
    flights.await_more()
    ended = flights.land()
    assert set(ended.values()) == {"COMPLETED"}
    runs = {run["id"]: run for run in scaled.api.everything("flow_runs/filter") if not run["deployment_id"]}
    assert {run_id: run["state_type"] for run_id, run in runs.items()} == ended
    assert {run["run_count"] for run in runs.values()} == {1}
    assert not is_free(), "who took the slot after that keeps it"
    row.held.append("the slot was free again, and kept by who took it then")
    row.held.append(f"all {len(ended)} flow runs of all these faults Completed, each at its first start")
