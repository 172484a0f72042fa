"""Heartbeats come as often as they have to, and a flow that ends need not wait for them."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow_engine
from prefect.events.worker import EventsWorker
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLOUD_API_URL,
    temporary_settings,
)
from prefect.states import Completed, Running
from prefect_processes import PrefectServer

from tests.keyed_server import KeyedServer
from tests.platforms import wait_for
from yeedu_worker.patches import heartbeats


class Engine:
    """What the heartbeats know of Prefect's engine."""

    def __init__(self, heartbeat_seconds: float | None = 30) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.flow_run = SimpleNamespace(state=Running())
        self.resource = {"prefect.resource.id": f"prefect.flow-run.{uuid.uuid4()}"}
        deployment = f"prefect.deployment.{uuid.uuid4()}"
        self.related = [{"prefect.resource.id": deployment, "prefect.resource.role": "deployment"}]

    def _build_heartbeat_event_template(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        return self.resource, self.related


class EmittingEngine(Engine):
    """One that can emit events in Prefect's own way."""

    _emit_flow_run_heartbeat = flow_engine.BaseFlowRunEngine._emit_flow_run_heartbeat


class Sent(list[dict[str, Any]]):
    """The events that a server was sent, and the status with which it answers."""

    status = 204


@pytest.fixture
def sent() -> Iterator[Sent]:
    """A server that takes every event."""
    events = Sent()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/events"
            events.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(events.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}):
            yield events
        server.shutdown()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(heartbeats, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(flow_engine, "MINIMUM_HEARTBEAT_INTERVAL", 0.01)


@pytest.mark.parametrize(("status", "interval_seconds"), [(204, 0.02), (500, 60)])
def test_heartbeats_go_on_until_the_flow_ends(sent: Sent, status: int, interval_seconds: float) -> None:
    """One that the server does not take is soon followed by the next."""
    sent.status = status
    engine: Any = Engine(interval_seconds)
    with heartbeats.send_heartbeats(engine):
        wait_for("three heartbeats", lambda: len(sent) >= 3, 60, 0.01)

    def is_over() -> bool:
        """Whether no other comes for a while; one may have been on its way."""
        count = len(sent)
        time.sleep(0.2)
        return len(sent) == count

    wait_for("end of the heartbeats", is_over, 60, 0.01)
    assert {event["event"] for event in sent} == {"prefect.flow-run.heartbeat"}
    assert len({event["id"] for event in sent}) == len(sent)


def test_server_has_them_for_the_run_and_its_deployment(server: PrefectServer) -> None:
    engine: Any = Engine()
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [engine.resource["prefect.resource.id"]]},
        "related": {"id": [engine.related[0]["prefect.resource.id"]]},
    }

    def stored() -> list[Any]:
        return server.api.post("events/filter", {"filter": wanted})["events"]

    with temporary_settings({PREFECT_API_URL: server.url}), heartbeats.send_heartbeats(engine):
        wait_for("a heartbeat", stored, 60, 0.1)


def test_server_that_takes_no_requests_gets_them_in_prefects_own_way(
    server: PrefectServer, tmp_path: Path
) -> None:
    """So may Prefect Cloud do, which takes events over a websocket in any case."""
    engine: Any = EmittingEngine()
    wanted = {
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": list(engine.resource.values())},
    }

    def stored() -> list[Any]:
        return server.api.post("events/filter", {"filter": wanted})["events"]

    cloud = KeyedServer(server.url, tmp_path / "journal", "the-key", is_cloud=True)
    with (
        cloud.running(),
        temporary_settings(
            {
                PREFECT_API_URL: cloud.url,
                PREFECT_API_KEY: "the-key",
                PREFECT_CLOUD_API_URL: f"{cloud.address}/api",
            }
        ),
    ):
        with heartbeats.send_heartbeats(engine):
            wait_for("a heartbeat", stored, 60, 0.1)
        EventsWorker.drain_all()
    assert cloud.refused() == []
    assert [line for line in cloud.asked() if "POST events" in line] == ["404 POST events"]


def test_flow_run_in_a_final_state_sends_none(sent: Sent) -> None:
    engine: Any = Engine(0.02)
    engine.flow_run.state = Completed()
    with heartbeats.send_heartbeats(engine), pytest.raises(AssertionError, match="a heartbeat"):
        wait_for("a heartbeat", lambda: sent, 0.3, 0.01)


def test_short_flow_sends_none_and_waits_for_none(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "FIRST_SECONDS", 3600)
    engine: Any = Engine()
    before = set(threading.enumerate())
    with heartbeats.send_heartbeats(engine):
        pass
    wait_for("end of the thread that sends them", lambda: set(threading.enumerate()) <= before, 60, 0.01)
    assert sent == []


def test_heartbeats_can_be_switched_off(sent: Sent) -> None:
    with heartbeats.send_heartbeats(Engine(None)), pytest.raises(AssertionError, match="a heartbeat"):
        wait_for("a heartbeat", lambda: sent, 0.2, 0.01)


def test_prefect_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_engine, "_send_heartbeats", flow_engine._send_heartbeats)
    heartbeats.replace_heartbeats()
    assert flow_engine._send_heartbeats is heartbeats.send_heartbeats  # its engines look the name up
