"""Sets runs that have stopped sending heartbeats to CRASHED, or to CANCELLED if they were being cancelled."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from yeedu_rescue.failure_isolation import FailureIsolation
from yeedu_rescue.flow_runs import FlowRun, cancel, crash, find
from yeedu_rescue.settings import HEARTBEAT_SECONDS, Settings
from yeedu_rescue.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yeedu_rescue.server import JSON, Server
    from yeedu_rescue.uptime import ServerUptime

logger = logging.getLogger(__name__)

# The heartbeat interval of another worker's run counts as Prefect's default until it has been observed.
DEFAULT_SECONDS = 180.0
_BEATS_MISSED = 3
ELSEWHERE_SECONDS = _BEATS_MISSED * DEFAULT_SECONDS + HEARTBEAT_SECONDS
_HEARTBEAT, _PROBE = "prefect.flow-run.heartbeat", "yeedu-prefect.rescue.silence"
_BEATS_READ, _EVENTS_READ = 4, 50  # the most that the server gives at once
_PROBE_LOST_SECONDS, _JUDGED_AGAIN_SECONDS = 60.0, 15.0


@dataclass
class _Watch:
    """What is known about one start of a run, in seconds during which the server was up.

    Attributes:
        sign: Its last heartbeat, or when it was first seen: silence before that does not count.
        ask_at: When its heartbeats are read next.
        probe: The id of the probe event that was sent when it fell silent; empty for none.
        sent_at: When the probe was sent.
        lost_seconds: The server's downtime until then.
    """

    sign: float
    ask_at: float
    probe: str = ""
    sent_at: float = 0.0
    lost_seconds: float = 0.0


class Heartbeats:
    """Decides by their last heartbeat whether RUNNING and CANCELLING runs are alive.

    The timeout depends on the observed heartbeats, and on whose worker took the run. A run that has never
    sent a heartbeat is left alone if no worker of this platform took it, or while its worker is online.

    Before a silent run is judged, this service sends a probe event. Only if the probe comes through the
    server's event stream, and no heartbeat follows within the interval, does the run count as dead.

    Args:
        server: The server.
        settings: The timeout, and the work pools that this service covers.
        clock: Seconds during which the server was up.
    """

    def __init__(self, server: Server, settings: Settings, clock: ServerUptime) -> None:
        self._server = server
        self._clock = clock
        self._scope = settings.scope
        self._window_seconds = settings.heartbeat_seconds
        self._workers = Workers(server, clock)
        self._watched: dict[str, _Watch] = {}
        self._can_judge = True
        self.isolation = FailureIsolation(clock)

    def reset(self) -> None:
        """Restart the timeout of every run."""
        self._watched.clear()
        self._can_judge = True
        self.isolation.reset()

    def reconcile(self) -> None:
        """Crash the runs whose heartbeat has timed out.

        Raises:
            ServerError: See `errors`.
        """
        runs = list(find(self._server, self._scope, state={"type": {"any_": ["RUNNING", "CANCELLING"]}}))
        now = self._clock()
        self._watched = {
            run.state_id: self._watched.get(run.state_id) or _Watch(now, now + 1.5 * HEARTBEAT_SECONDS)
            for run in runs
        }
        self.isolation.keep([run.id for run in runs])
        if self._can_judge:
            silent = [run for run in runs if now >= self._watched[run.state_id].ask_at]
            self.isolation.each(silent, lambda run: run.id, lambda run: self._judge(run, now))

    def _judge(self, run: FlowRun, now: float) -> None:
        watch = self._watched[run.state_id]
        names = [_HEARTBEAT, _PROBE] if watch.probe else [_HEARTBEAT]
        events = self._server.events(
            {"event": {"name": names}, "resource": {"id": [f"prefect.flow-run.{run.id}"]}},
            _EVENTS_READ if watch.probe else _BEATS_READ,
        )
        beats = [event for event in events if event["event"] == _HEARTBEAT]
        if beats:
            # Both times are the server's: a worker's clock may be wrong.
            watch.sign = max(watch.sign, now - self._age(beats[0]))
        if run.state_type == "RUNNING":  # a run sends no heartbeats between two starts
            since = datetime.fromisoformat(run.since)
            beats = [beat for beat in beats if datetime.fromisoformat(beat["received"]) >= since]
        if not (beats or run.is_ours):
            watch.ask_at = now + DEFAULT_SECONDS
            return
        pause_seconds, window_seconds = self._interval_and_timeout(run, beats)
        watch.ask_at = max(watch.sign + 1.5 * min(pause_seconds, DEFAULT_SECONDS), now)
        silent_seconds = now - watch.sign
        if silent_seconds < window_seconds - pause_seconds:
            watch.probe = ""
        elif not watch.probe:
            self._send_probe(run, watch, silent_seconds)
        elif not (probe := next((event for event in events if event["id"] == watch.probe), None)):
            if now - watch.sent_at > _PROBE_LOST_SECONDS:
                logger.warning(
                    "the server's event stream is stuck: %s is not judged until events arrive", run
                )
                self._send_probe(run, watch, silent_seconds)
        elif silent_seconds >= window_seconds and self._is_answered(watch, probe, pause_seconds):
            self._end(run, silent_seconds, has_beaten=bool(beats))
            watch.ask_at = now + _JUDGED_AGAIN_SECONDS

    def _interval_and_timeout(self, run: FlowRun, beats: Sequence[JSON]) -> tuple[float, float]:
        """Return a run's heartbeat interval, and the silence after which it counts as dead."""
        times = [datetime.fromisoformat(beat["occurred"]) for beat in beats]
        pauses = [abs((later - earlier).total_seconds()) for later, earlier in pairwise(times)]
        longest_seconds = max(pauses, default=0.0)
        if run.is_ours:  # heartbeats are late on a busy machine
            longest_seconds = max(run.beats_seconds, min(longest_seconds, DEFAULT_SECONDS))
            return run.beats_seconds, max(self._window_seconds, _BEATS_MISSED * longest_seconds)
        if not pauses:
            return DEFAULT_SECONDS, max(self._window_seconds, ELSEWHERE_SECONDS)
        return longest_seconds, max(self._window_seconds, _BEATS_MISSED * longest_seconds)

    def _is_answered(self, watch: _Watch, probe: JSON, pause_seconds: float) -> bool:
        """Return whether a live run would have sent a heartbeat since the probe came through."""
        lost_seconds = self._clock.lost_seconds - watch.lost_seconds
        return self._age(probe) - lost_seconds >= pause_seconds

    def _end(self, run: FlowRun, silent_seconds: float, *, has_beaten: bool) -> None:
        why = f"no heartbeat for {silent_seconds:.0f} s, so the process that ran it is gone"
        if not has_beaten and run.state_type == "RUNNING":
            if not self._workers.is_gone(run):
                return
            why = f"no heartbeat in {silent_seconds:.0f} s, and the worker that started it is gone"
        end = crash if run.state_type == "RUNNING" else cancel
        end(self._server, run, why)

    def _send_probe(self, run: FlowRun, watch: _Watch, silent_seconds: float) -> None:
        probe = str(uuid.uuid4())
        event = {
            "id": probe,
            "occurred": datetime.now(UTC).isoformat(),
            "event": _PROBE,
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
            "payload": {"silent_seconds": round(silent_seconds)},
        }
        lost_seconds = self._clock.lost_seconds
        if self._server.send_event(event):
            watch.probe, watch.sent_at, watch.lost_seconds = probe, self._clock(), lost_seconds
        elif self._can_judge:
            logger.warning("the server accepts no events over HTTP: silent runs are not judged")
            self._can_judge = False

    def _age(self, event: JSON) -> float:
        age = self._server.time() - datetime.fromisoformat(event["received"])
        return max(age.total_seconds(), 0.0)
