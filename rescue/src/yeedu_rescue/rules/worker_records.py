"""Deletes the records of workers that have been offline for long."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from yeedu_rescue.errors import ServerRefused
from yeedu_rescue.failure_isolation import FailureIsolation

if TYPE_CHECKING:
    from yeedu_rescue.server import JSON, Server
    from yeedu_rescue.settings import Settings
    from yeedu_rescue.uptime import ServerUptime

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 60.0


class WorkerRecords:
    """Deletes stale worker records; a worker that comes back creates a new one.

    Args:
        server: The server.
        settings: How long a record is kept.
        clock: Seconds during which the server was up.
    """

    def __init__(self, server: Server, settings: Settings, clock: ServerUptime) -> None:
        self._server = server
        self._clock = clock
        self._scope = settings.scope
        self._kept = timedelta(seconds=settings.worker_seconds)
        self._next = 0.0
        self.isolation = FailureIsolation(clock)

    def reset(self) -> None:
        """Give workers time to come back: the server could not hear them."""
        self._next = self._clock() + _PAUSE_SECONDS
        self.isolation.reset()

    def reconcile(self) -> None:
        """Delete old records, at most once a minute.

        Raises:
            ServerError: See `errors`.
        """
        if not self._kept or self._clock() < self._next:
            return
        pools = list(self._server.pages("/work_pools/filter", self._scope))
        names = [f"work pool {pool['name']!r}" for pool in pools]
        self.isolation.keep(names)
        self.isolation.each(names, str, lambda name: self._clear(pools[names.index(name)]))
        self._next = self._clock() + _PAUSE_SECONDS

    def _clear(self, pool: JSON) -> None:
        path = f"/work_pools/{quote(pool['name'], safe='')}/workers"
        for worker in list(self._server.pages(f"{path}/filter", {})):
            last: str | None = worker["last_heartbeat_time"]
            silent = self._server.time() - datetime.fromisoformat(last) if last else timedelta.max
            if worker["status"] == "OFFLINE" and silent > self._kept:
                self._delete(f"{path}/{quote(worker['name'], safe='')}")

    def _delete(self, path: str) -> None:
        try:
            self._server.delete(path)
        except ServerRefused as refused:
            if refused.status != 404:  # another instance was faster
                raise
        else:
            logger.info("worker record %s: deleted, offline for more than %s", path, self._kept)
