"""Records of workers that have been offline for long are deleted."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from yeedu_rescue.errors import ServerRefused

if TYPE_CHECKING:
    from yeedu_rescue.server import Server
    from yeedu_rescue.settings import Settings

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 60.0


class WorkerRecords:
    """Deletes records that nobody would miss: a worker that comes back makes a new one.

    Args:
        server: The server.
        settings: How long a record is kept.
    """

    def __init__(self, server: Server, settings: Settings) -> None:
        self._server = server
        self._scope = settings.scope
        self._kept = timedelta(seconds=settings.worker_seconds)
        self._next = 0.0

    def forgive(self, now: float) -> None:
        """Let workers come back first: they could not be heard."""
        self._next = now + _PAUSE_SECONDS

    def look(self, now: float) -> None:
        """Delete what is old, at most once a minute.

        Args:
            now: On a clock that never goes back.

        Raises:
            ServerError: See `errors`.
        """
        if not self._kept or now < self._next:
            return
        self._next = now + _PAUSE_SECONDS
        for pool in self._server.pages("/work_pools/filter", self._scope):
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
            if refused.status != 404:  # another one was faster
                raise
        else:
            logger.info("worker record %s: deleted, offline for more than %s", path, self._kept)
