"""Heartbeats come as often as they have to, and a flow that ends need not wait for them."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow_engine
from prefect.states import Completed, Running

from tests.platforms import wait_for
from yeedu_worker.prefork import heartbeats


class Engine:
    """What the heartbeats know of Prefect's engine."""

    def __init__(self, heartbeat_seconds: float | None = 30, *, fails: bool = False) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.flow_run = SimpleNamespace(state=Running())
        self.sent: list[tuple[object, object]] = []
        self._fails = fails

    def _build_heartbeat_event_template(self) -> tuple[str, str]:
        return "resource", "related"

    def _emit_flow_run_heartbeat(self, resource: object, related: object) -> None:
        self.sent.append((resource, related))
        if self._fails:
            raise OSError("the server is away")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(flow_engine, "MINIMUM_HEARTBEAT_INTERVAL", 0.01)


def seconds_of(engine: Any) -> float:
    """Return how long a flow takes that does nothing."""
    began = time.monotonic()
    with heartbeats.send_heartbeats(engine):
        pass
    return time.monotonic() - began


@pytest.mark.parametrize("fails", [False, True])
def test_heartbeats_go_on_until_the_flow_ends(fails: bool) -> None:
    engine = Engine(0.02, fails=fails)
    with heartbeats.send_heartbeats(engine):
        wait_for("three heartbeats", lambda: len(engine.sent) >= 3, 20, 0.01)
    count = len(engine.sent)
    assert set(engine.sent) == {("resource", "related")}
    with pytest.raises(AssertionError, match="another heartbeat"):
        wait_for("another heartbeat", lambda: len(engine.sent) > count, 0.2, 0.01)


def test_flow_run_in_a_final_state_sends_none() -> None:
    engine = Engine(0.02)
    engine.flow_run.state = Completed()
    with heartbeats.send_heartbeats(engine), pytest.raises(AssertionError, match="a heartbeat"):
        wait_for("a heartbeat", lambda: engine.sent, 0.3, 0.01)


def test_short_flow_sends_none_and_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "FIRST_SECONDS", 60)
    engine = Engine()
    assert seconds_of(engine) < 2  # the time after which the thread would no longer be waited for
    assert engine.sent == []


def test_heartbeats_can_be_switched_off() -> None:
    engine = Engine(None)
    with heartbeats.send_heartbeats(engine), pytest.raises(AssertionError, match="a heartbeat"):
        wait_for("a heartbeat", lambda: engine.sent, 0.2, 0.01)


def test_prefect_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_engine, "_send_heartbeats", flow_engine._send_heartbeats)
    heartbeats.replace_heartbeats()
    assert flow_engine._send_heartbeats is heartbeats.send_heartbeats  # its engines look the name up
