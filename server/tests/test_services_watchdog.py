"""When the server's services count as standing still, and when that is a reason to start anew."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import services_watchdog
from patches import watch_services
from prefect.server.services import db_vacuum, late_runs, perpetual_services, telemetry
from services_watchdog import END_SCHEDULER_SECONDS, END_SECONDS, SCHEDULER, ServicesMonitor, Watched
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.platforms import wait_for
from tests.prefect_process import PrefectProcess

MINUTE = 60.0
OTHER = "monitor_late_runs"


class Life:
    """A server's services, and the clock that they are watched by."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.monitor = ServicesMonitor(lambda: self.now)

    def go_on(
        self,
        minutes: float,
        *services: str,
        has_database: bool = True,
        failures: Mapping[str, Exception] = MappingProxyType({}),
    ) -> None:
        """Let time pass, in which these services end their rounds, some with a failure."""
        for _ in range(int(minutes * 6)):
            self.now += 10
            self.monitor.turn(has_database=has_database)
            for name in services:
                self.monitor.ended(name, failures.get(name))

    @property
    def state(self) -> tuple[bool, bool]:
        """Whether it is healthy, and whether it goes on."""
        return not self.monitor.trouble(), not self.monitor.end()


@pytest.fixture
def life() -> Life:
    return Life()


HEALTHY, UNHEALTHY, OVER = (True, True), (False, True), (False, False)


def test_idle_server_is_healthy_for_ever(life: Life) -> None:
    for _ in range(100):
        life.go_on(60, OTHER, SCHEDULER)
        assert life.state == HEALTHY


def test_services_that_stand_still_are_told_and_then_the_server_ends(life: Life) -> None:
    life.go_on(60, OTHER, SCHEDULER)
    life.go_on(1.5)
    assert life.state == HEALTHY
    life.go_on(1)
    assert life.state == UNHEALTHY
    assert "none of the server's services has ended a round for 150 s" in life.monitor.trouble()
    life.go_on(END_SECONDS / MINUTE)
    assert life.state == OVER


def test_event_loop_that_stands_still_ends_the_server(life: Life) -> None:
    life.now += END_SECONDS + 1
    assert life.state == OVER
    assert life.monitor.end().startswith("the event loop has not turned for 301 s")


def test_scheduler_alone_may_take_its_time_but_not_for_ever(life: Life) -> None:
    life.go_on(10, OTHER, SCHEDULER)
    life.go_on(4, OTHER)
    assert life.state == HEALTHY
    life.go_on(2, OTHER)
    assert life.state == UNHEALTHY
    life.go_on(10, OTHER)
    assert life.state == OVER
    assert life.monitor.end().startswith("the scheduler has made no run for 960 s")


def test_database_that_is_away_is_no_reason_however_long(life: Life) -> None:
    life.go_on(10, OTHER, SCHEDULER)
    life.go_on(600, has_database=False)
    assert life.state == HEALTHY, "the page of the health check asks for the database itself"
    life.go_on(600, OTHER, SCHEDULER, has_database=False, failures={SCHEDULER: OSError(), OTHER: OSError()})
    assert life.state == HEALTHY
    life.go_on(2, OTHER)
    assert life.state == HEALTHY, "judged from its return on"


@pytest.mark.parametrize("failure", [TimeoutError(), DBAPIError("SELECT 1", None, Exception())])
def test_scheduler_that_fails_by_what_the_database_says_is_left_to_go_on(
    life: Life, failure: Exception
) -> None:
    life.go_on(10, OTHER, SCHEDULER)
    life.go_on(600, OTHER, SCHEDULER, failures={SCHEDULER: failure})
    assert life.state == UNHEALTHY
    assert type(failure).__name__ in life.monitor.trouble()
    life.go_on(1, OTHER, SCHEDULER)
    assert life.state == HEALTHY


@pytest.mark.parametrize("failure", [PoolTimeoutError(), RuntimeError("of whatever kind")])
def test_other_failures_end_the_server_once_and_no_start_after_that(life: Life, failure: Exception) -> None:
    life.go_on(10, OTHER, SCHEDULER)
    life.go_on(END_SCHEDULER_SECONDS / MINUTE + 1, OTHER, SCHEDULER, failures={SCHEDULER: failure})
    assert life.state == OVER
    assert "of whatever kind" not in life.monitor.end(), "an exception's text may hold anything"
    again = Life()
    again.go_on(600, OTHER, SCHEDULER, failures={SCHEDULER: failure})
    assert again.state == UNHEALTHY


def test_every_service_of_prefect_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own name and signature, for docket knows it by these."""

    async def good(number: int = 17) -> None:
        assert number == 17

    async def bad() -> None:
        raise ValueError

    registered = [perpetual_services.PerpetualServiceConfig(service, lambda: True) for service in (good, bad)]
    monkeypatch.setattr(perpetual_services, "_PERPETUAL_SERVICES", registered)
    seen: list[tuple[str, str]] = []
    watched = ServicesMonitor()

    def ended(name: str, failure: BaseException | None = None) -> None:
        seen.append((name, type(failure).__name__))

    monkeypatch.setattr(watched, "ended", ended)
    assert watch_services(watched)
    assert [service.function.__name__ for service in registered] == ["good", "bad"]
    asyncio.run(registered[0].function())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^$"):
        asyncio.run(registered[1].function())  # type: ignore[arg-type]
    assert seen == [("good", "NoneType"), ("bad", "ValueError")]


@pytest.mark.parametrize("others", [False, True])
def test_server_whose_scheduler_is_switched_off_waits_for_none(
    monkeypatch: pytest.MonkeyPatch, life: Life, others: bool
) -> None:
    """By Prefect's own setting; with all services off, only the event loop is judged."""

    async def schedule_deployments() -> None: ...
    async def other() -> None: ...

    made = perpetual_services.PerpetualServiceConfig
    registered = [made(schedule_deployments, lambda: False), made(other, lambda: others)]
    monkeypatch.setattr(perpetual_services, "_PERPETUAL_SERVICES", registered)
    assert watch_services(life.monitor)
    life.go_on(600, *(["other"] if others else []))
    assert life.state == HEALTHY
    life.go_on(10)
    assert life.state == (OVER if others else HEALTHY)


@pytest.mark.parametrize("is_frequent", [False, True])
def test_services_that_are_seldom_due_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, life: Life, is_frequent: bool
) -> None:
    """Deleting old events is due every hour, and telemetry every ten minutes, where the others are off."""
    functions = [db_vacuum.schedule_event_vacuum_tasks, telemetry.send_telemetry_heartbeat]
    functions += [late_runs.monitor_late_runs] if is_frequent else []
    registered = [perpetual_services.PerpetualServiceConfig(one, lambda: True) for one in functions]
    monkeypatch.setattr(perpetual_services, "_PERPETUAL_SERVICES", registered)
    assert watch_services(life.monitor)
    life.go_on(10)
    assert life.state == (OVER if is_frequent else HEALTHY)


def test_server_of_the_api_alone_waits_for_no_service(monkeypatch: pytest.MonkeyPatch, life: Life) -> None:
    """Nor for the one that it has, which counts users every ten minutes, if it may."""

    async def schedule_deployments() -> None: ...
    async def send_telemetry_heartbeat() -> None: ...

    made = perpetual_services.PerpetualServiceConfig
    registered = [
        made(schedule_deployments, lambda: True),
        made(send_telemetry_heartbeat, lambda: True, run_in_webserver=True),
    ]
    monkeypatch.setattr(perpetual_services, "_PERPETUAL_SERVICES", registered)
    monkeypatch.setenv("PREFECT__SERVER_WEBSERVER_ONLY", "1")
    assert watch_services(life.monitor)
    life.go_on(600)
    assert life.state == HEALTHY


def test_process_that_was_held_up_is_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `docker pause`: the clock went on, and nothing else did."""
    monkeypatch.setattr(services_watchdog, "POLL_SECONDS", 0.01)
    held, ended = Life(), []
    watched: Any = Watched(None, held.monitor, None, ended.append)  # type: ignore[arg-type]
    times = iter([0.0, 0.01, 5000.0, 5000.01])

    def monotonic() -> float:
        try:
            now = next(times)
        except StopIteration:
            watched._is_over.set()
            return 5000.02
        held.now = now
        return now

    monkeypatch.setattr(services_watchdog, "time", SimpleNamespace(monotonic=monotonic))
    watched._watch()
    assert ended == []


SERVE = """
import asyncio, os, sys
sys.path.insert(0, {folder!r})
import docket, services_watchdog, serve
services_watchdog.POLL_SECONDS = 1  # a process that is late by two of them is taken for one that was held up
services_watchdog.UNHEALTHY_SECONDS, services_watchdog.SECONDS_TO_END = 4, 200
stock = docket.Worker.run_forever
async def run_forever(worker):
    running = asyncio.create_task(stock(worker))
    while not os.path.exists({end!r}):
        await asyncio.sleep(0.1)
    services_watchdog.END_SECONDS = 40
    running.cancel()  # as after a failure that nobody looks at
docket.Worker.run_forever = run_forever
serve.main()
"""
FOLDER = Path(services_watchdog.__file__).parent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrefectProcess]:
    """A server whose services stand still once there is a file `end`, and which notices soon."""
    program = tmp_path / "serve_still.py"
    program.write_text(SERVE.format(folder=str(FOLDER), end=str(tmp_path / "end")))
    settings = {
        "PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "0.5",
    }
    with PrefectProcess(tmp_path, settings, [str(program)]) as server:
        yield server


def check(server: PrefectProcess) -> subprocess.CompletedProcess[str]:
    """Ask as the container's health check does."""
    command = [sys.executable, "-S", str(FOLDER / "healthcheck.py")]
    environment = {"HEALTHCHECK_URL": f"{server.url}/health/services"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_server_whose_services_stand_still_says_so_and_ends_itself(
    server: PrefectProcess, tmp_path: Path
) -> None:
    wait_for("healthy server", lambda: check(server).returncode == 0, 100, 0.1)
    (tmp_path / "end").touch()
    told = "none of the server's services has ended a round for"

    def is_told() -> bool:
        checked = check(server)
        return checked.returncode == 1 and told in checked.stderr

    wait_for("unhealthy server", is_told, 100, 0.1)
    wait_for("answer of the API, for which alone somebody asks", server.is_ready, 30, 0.1)
    assert server.await_end(300) == -signal.SIGTERM, "it ended in order"
    assert "server: none of the server's services has ended a round" in server.log()
    assert "Current thread" in server.log()


def run(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that ends itself from a thread, as the watch does."""
    file = tmp_path / "ending.py"
    file.write_text(
        f"import os, signal, sys, threading, time\nsys.path.insert(0, {str(FOLDER)!r})\n{program}"
    )
    command = [sys.executable, str(file), "--port=1"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_process_that_cannot_end_in_order_ends_all_the_same(tmp_path: Path) -> None:
    program = """
import services_watchdog
services_watchdog.SECONDS_TO_END = 0.1
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=services_watchdog.end, args=["it hangs"]).start()
time.sleep(1000)
"""
    done = run(tmp_path, program)
    assert done.returncode == 75
    assert done.stderr.startswith("server: it hangs, and the database is there: starting anew.")


def test_service_that_follows_events_and_ends_is_told_and_ends_the_process(life: Life) -> None:
    life.go_on(1, OTHER, SCHEDULER)
    assert life.state == HEALTHY
    life.monitor.over("TaskRunRecorder", ValueError("canary"))
    assert life.state == OVER
    assert life.monitor.trouble() == "the service TaskRunRecorder has ended (ValueError)"
