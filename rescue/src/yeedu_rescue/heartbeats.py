"""Runs that have stopped to send heartbeats become CRASHED, or CANCELLED where that was asked for."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from yeedu_rescue.flow_runs import FlowRun, cancel, crash, find
from yeedu_rescue.settings import HEARTBEAT_SECONDS, Settings

if TYPE_CHECKING:
    from yeedu_rescue.server import JSON, Server

logger = logging.getLogger(__name__)

# Runs that no worker of this platform started beat as Prefect does by default, every 180 s.
ELSEWHERE_SECONDS = 3 * 180.0 + HEARTBEAT_SECONDS
_BEATS_MISSED = 3
_SKEW = timedelta(hours=1)  # a worker's clock may be ahead of the server's


class Heartbeats:
    """Judges RUNNING and CANCELLING runs by their last sign of life.

    A run whose silence is long gets an event of this service's own. Only when that event has come through the
    server's event stream is the silence the run's own, and not the stream's.

    Args:
        server: The server.
        settings: The window.
    """

    def __init__(self, server: Server, settings: Settings) -> None:
        self._server = server
        self._scope = settings.scope
        self._window_seconds = settings.heartbeat_seconds
        self._signs: dict[str, float] = {}
        self._probes: dict[str, str] = {}
        self._can_judge = True

    def forgive(self, now: float) -> None:
        """Count everybody's silence from now on."""
        self._signs = dict.fromkeys(self._signs, now)
        self._probes.clear()
        self._can_judge = True

    def look(self, now: float) -> None:
        """Crash the runs that are silent for too long.

        Args:
            now: On a clock that never goes back.

        Raises:
            ServerError: See `errors`.
        """
        runs = list(find(self._server, self._scope, state={"type": {"any_": ["RUNNING", "CANCELLING"]}}))
        known = {run.id for run in runs}
        # A run is silent since it was first seen, so that a start of this service blames nobody.
        self._signs = {run.id: self._signs.get(run.id, now) for run in runs}
        self._probes = {run_id: probe for run_id, probe in self._probes.items() if run_id in known}
        for run in runs:
            if self._can_judge and now - self._signs[run.id] > 1.5 * HEARTBEAT_SECONDS:
                self._judge(run, now)

    def _judge(self, run: FlowRun, now: float) -> None:
        window_seconds = self._hear(run, now)
        silent_seconds = now - self._signs[run.id]
        if silent_seconds < window_seconds - HEARTBEAT_SECONDS:
            self._probes.pop(run.id, None)
        elif run.id not in self._probes:
            self._send_probe(run, silent_seconds)
        elif silent_seconds >= window_seconds:
            if not self._has_arrived(self._probes[run.id]):
                logger.warning("events do not come through the server: no run is judged until they do")
                self.forgive(now)
            else:
                end = crash if run.state_type == "RUNNING" else cancel
                why = f"no heartbeat for {silent_seconds:.0f} s, so the process that ran it is gone"
                end(self._server, run, why)

    def _hear(self, run: FlowRun, now: float) -> float:
        """Take note of the run's last heartbeat, and return the silence that is too long for it."""
        beats = self._events({"event": {"name": ["prefect.flow-run.heartbeat"]}, **_resource(run)}, 2)
        if beats:
            # Both times are the server's own: a worker's clock may go wrong.
            age = self._server.time() - datetime.fromisoformat(beats[0]["received"])
            heard = now - max(age.total_seconds(), 0.0)
            self._signs[run.id] = max(self._signs[run.id], heard)
        if run.state_type == "RUNNING":  # between two starts a run does not beat
            since = datetime.fromisoformat(run.since)
            beats = [beat for beat in beats if datetime.fromisoformat(beat["received"]) >= since]
        pause_seconds = 0.0
        if len(beats) == 2:
            first, second = (datetime.fromisoformat(beat["occurred"]) for beat in beats)
            pause_seconds = abs((first - second).total_seconds())
        elif not run.work_pool:
            return max(self._window_seconds, ELSEWHERE_SECONDS)
        return max(self._window_seconds, min(_BEATS_MISSED * pause_seconds, ELSEWHERE_SECONDS))

    def _send_probe(self, run: FlowRun, silent_seconds: float) -> None:
        probe = str(uuid.uuid4())
        event = {
            "id": probe,
            "occurred": datetime.now(UTC).isoformat(),
            "event": "yeedu-prefect.rescue.silence",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
            "payload": {"silent_seconds": round(silent_seconds)},
        }
        if self._server.send_event(event):
            self._probes[run.id] = probe
        else:
            logger.warning("the server takes no events over HTTP: silent runs are not judged")
            self._can_judge = False

    def _has_arrived(self, probe: str) -> bool:
        return bool(self._events({"id": {"id": [probe]}}, 1))

    def _events(self, conditions: JSON, limit: int) -> list[JSON]:
        until = self._server.time() + _SKEW
        body = {
            "filter": {**conditions, "occurred": {"until": until.isoformat()}, "order": "DESC"},
            "limit": limit,
        }
        answer: JSON = self._server.post("/events/filter", body)
        return answer["events"]


def _resource(run: FlowRun) -> JSON:
    return {"resource": {"id": [f"prefect.flow-run.{run.id}"]}}
