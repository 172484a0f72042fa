"""Tells the rules what the server knows about the workers that took flow runs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from yeedu_rescue.flow_runs import FlowRun
    from yeedu_rescue.server import JSON, Server

# A worker sends a heartbeat every 30 s, give or take a third. After an outage of the server, its record says
# OFFLINE until the next one.
_SILENCE_SECONDS = 45.0
_CACHE_SECONDS = 10.0


class Workers:
    """Reads work pools and the records of their workers, cached for a few seconds.

    Args:
        server: The server.
        clock: Seconds during which the server was up.
    """

    def __init__(self, server: Server, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._read: dict[str, tuple[float, list[JSON]]] = {}
        self._last_heartbeats: dict[tuple[str, str], tuple[str | None, float]] = {}

    def are_processes(self, pool: str) -> bool:
        """Return whether a pool's runs are processes of its workers, which start without pulling an image.

        Raises:
            ServerError: See `errors`.
        """
        found = self._cached("/work_pools/filter", {"work_pools": {"name": {"any_": [pool]}}}, pool)
        return any(one["name"] == pool and one["type"] == "process" for one in found)

    def is_gone(self, run: FlowRun) -> bool:
        """Return whether the worker that took a run is offline, deleted, or was restarted since.

        Raises:
            ServerError: See `errors`.
        """
        path = f"/work_pools/{quote(run.work_pool, safe='')}/workers/filter"
        records = self._cached(path, {}, path)
        record = next((one for one in records if one["name"] == run.worker), None)
        return record is None or self._is_offline(run, record) or self._was_restarted(run)

    def _is_offline(self, run: FlowRun, record: JSON) -> bool:
        key, now = (run.work_pool, run.worker), self._clock()
        last: str | None = record["last_heartbeat_time"]
        if (
            record["status"] != "OFFLINE"
            or key not in self._last_heartbeats
            or self._last_heartbeats[key][0] != last
        ):
            self._last_heartbeats[key] = (last, now)
        return now - self._last_heartbeats[key][1] >= _SILENCE_SECONDS

    def _was_restarted(self, run: FlowRun) -> bool:
        wanted: JSON = {
            "event": {"name": ["prefect.worker.started"]},
            "resource": {"labels": {"prefect.resource.name": [run.worker]}},
            "related": {"labels": {"prefect.resource.name": [run.work_pool]}, "role": ["work-pool"]},
        }
        since = datetime.fromisoformat(run.since)
        return any(datetime.fromisoformat(one["received"]) > since for one in self._server.events(wanted, 1))

    def _cached(self, path: str, body: JSON, key: str) -> list[JSON]:
        now = self._clock()
        if key not in self._read or now - self._read[key][0] >= _CACHE_SECONDS:
            self._read[key] = (now, list(self._server.pages(path, body)))
        return self._read[key][1]
