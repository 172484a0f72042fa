"""The platform with several API servers: each of its parts dies while flow runs are in flight."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.faults.conftest import Row
from tests.faults.flights import Flights
from tests.faults.stack import Stack, quiet, seconds_since
from tests.platforms import JSON, scaled_settings, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.short, pytest.mark.long, pytest.mark.timeout(1200)]

SERVERS = 3
AWAY_SECONDS = 120
TICK_SECONDS = 10


class ScaledStack(Stack):
    """The platform with several API servers, as `make up SCALE=1` makes it."""

    def prepare(self) -> None:
        super().prepare()
        self.environment |= scaled_settings(SERVERS) | {
            "COMPOSE_FILE": "docker-compose.yaml:deploy/scale.yaml:docker-compose.override.yaml"
        }

    def containers_of(self, service: str) -> list[str]:
        """Return the ids of all containers of a service."""
        return self.must("docker", "compose", "ps", "--all", "--quiet", service).split()

    def await_healthy(self, container: str) -> None:
        """Wait until one container is healthy."""
        template = "{{.State.Health.Status}}"

        def is_healthy() -> bool:
            return self.must("docker", "inspect", "--format", template, container).strip() == "healthy"

        wait_for("healthy container", is_healthy, 240)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScaledStack]:
    """The platform up on empty volumes, without schedules that start runs of their own."""
    with quiet(ScaledStack, tmp_path_factory.mktemp("scaled"), "faults-scaled.log") as up:
        yield up


@pytest.mark.fault(21)
def test_each_api_server_is_killed_under_load(scaled: ScaledStack, row: Row) -> None:
    row.injected = f"each of {SERVERS} API servers killed in turn, with flow runs in flight"
    servers = scaled.containers_of("server")
    assert len(servers) == SERVERS
    flights = Flights(scaled)
    slowest = 0.0
    for server in servers:
        flights.start(12)
        flights.await_running()
        scaled.must("docker", "kill", server)
        began = time.monotonic()
        assert scaled.api.get("flow_runs/" + next(iter(flights.runs)))
        slowest = max(slowest, time.monotonic() - began)
        flights.start(12)
        scaled.must("docker", "start", server)
        scaled.await_healthy(server)
    row.held += [flights.land(), f"a request after the kill was answered within {slowest:.1f} s"]
    assert flights_starts(scaled, flights) == {1}, "a run was started again"


@pytest.mark.fault(22)
def test_services_are_killed_and_started_twice(scaled: ScaledStack, row: Row) -> None:
    row.injected = "services killed for 20 s, then two of them for 30 s; a deployment ticks every 10 s"
    with scaled.ticking("ticks", "print-message", seconds=TICK_SECONDS) as name:
        wait_for("tick", lambda: ended(scaled, name), 120)
        began = datetime.now(UTC)
        scaled.kill("services")
        time.sleep(20)  # the length of the outage is what this test is about
        scaled.start_service("services")
        scaled_out = ("up", "--detach", "--no-recreate", "--no-build", "--no-deps", "--scale")
        scaled.compose(*scaled_out, "services=2", "services")
        for container in scaled.containers_of("services"):
            scaled.await_healthy(container)
        time.sleep(30)  # likewise
        scaled.compose(*scaled_out, "services=1", "services")
        until = datetime.now(UTC)
        wait_for("tick after", lambda: latest(scaled, name) > until, 60)
        runs = [run for run in scaled.api.runs(name) if began <= due(run) <= until]
    ticks = Counter(round(due(run).timestamp() / TICK_SECONDS) for run in runs)
    assert set(ticks.values()) == {1}, ticks
    assert sorted(ticks) == list(range(min(ticks), max(ticks) + 1)), ticks
    assert len(ticks) >= (until - began).total_seconds() // TICK_SECONDS - 1
    late = max((datetime.fromisoformat(run["start_time"]) - due(run)).total_seconds() for run in runs)
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    row.held.append(f"{len(ticks)} ticks, each with exactly one flow run, the latest {late:.1f} s late")
    assert late < TICK_SECONDS


@pytest.mark.fault(20)
@pytest.mark.parametrize("how", ["restarted", "away", "wiped"])
def test_redis_is(scaled: ScaledStack, row: Row, how: str) -> None:
    away = f" for {AWAY_SECONDS} s" if how == "away" else ""
    row.injected = f"Redis {how}{away}, with flow runs in flight that hold slots of a limit"
    flights = Flights(scaled)
    flights.start(30, 10)
    flights.await_running()
    if how == "restarted":
        scaled.compose("restart", "redis")
    elif how == "away":
        scaled.compose("stop", "redis")
        time.sleep(AWAY_SECONDS)  # the length of the outage is what this test is about
        scaled.start_service("redis")
    else:
        wipe(scaled)
    began = time.monotonic()
    wait_for("answer", lambda: scaled.api.ask("POST", "flows/", {"name": "made"}).ok, 120)
    row.held.append(f"changes were taken again {seconds_since(began)} after its return")
    with scaled.ticking(f"after-{how}", "print-message", seconds=5) as name:
        wait_for("tick", lambda: ended(scaled, name), 120)
        row.held.append(f"a new deployment's first tick Completed after {seconds_since(began)}")
    flights.start(12)
    row.held.append(flights.land())


@pytest.mark.fault(21)
def test_proxy_is_restarted(scaled: ScaledStack, row: Row) -> None:
    row.injected = "the proxy restarted, with flow runs in flight"
    flights = Flights(scaled)
    flights.start(12)
    flights.await_running()
    scaled.compose("restart", "proxy")
    flights.start(12)
    row.held.append(flights.land())
    assert flights_starts(scaled, flights) == {1}, "a run was started again"


def flights_starts(stack: ScaledStack, flights: Flights) -> set[int]:
    return {stack.api.get(f"flow_runs/{run_id}")["run_count"] for run_id in flights.runs}


def wipe(stack: ScaledStack) -> None:
    script = "{ echo AUTH $(cat /run/platform/redis/redis-password); echo FLUSHALL; } | redis-cli"
    assert stack.inside("redis", "sh", "-c", script).split() == ["OK", "OK"]


def ended(stack: ScaledStack, name: str) -> list[JSON]:
    return [run for run in stack.api.runs(name) if run["state_type"] == "COMPLETED"]


def due(run: JSON) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def latest(stack: ScaledStack, name: str) -> datetime:
    return max(due(run) for run in ended(stack, name))
