"""The health page: tells whether the database and the services beside the API work."""

import logging
import os
import time

from prefect.server.database import provide_database_interface
from services_watchdog import ServicesMonitor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATH = "/api/health/services"
QUEUES = "prefect.server.utilities.messaging.memory"
_SECONDS_BETWEEN_LINES = 60.0


class DroppedEvents(logging.Filter):
    """Counts the events that Prefect drops in a flood, when its services read their queues too slowly.

    Prefect has answered 204 by then, and logs a line for each; one line a minute is kept.
    """

    count = 0
    _told = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Count a line about a dropped event, and let one a minute pass."""
        if not str(record.msg).startswith("Subscription queue is full, dropping"):
            return True
        self.count += 1
        if time.monotonic() - self._told < _SECONDS_BETWEEN_LINES:
            return False
        self._told = time.monotonic()
        return True


async def is_database_there() -> bool:
    """Ask Prefect whether its database is reachable, as its own page `/api/ready` does."""
    return await provide_database_interface().is_db_connectable()


def health_page(monitor: ServicesMonitor, patches_left_out: str) -> Route:
    """Return the page, and start counting dropped events for it.

    Args:
        monitor: The monitor of the services.
        patches_left_out: The line that says which patches are left out; empty for none.

    It answers 200, or 503 with what is wrong. It needs no login, as it shows none of the server's data.
    """
    version = os.environ.get("PLATFORM_VERSION", "")  # attached workers compare it with theirs
    dropped = DroppedEvents()
    logging.getLogger(QUEUES).addFilter(dropped)

    async def page(_: Request) -> Response:
        message = "" if await is_database_there() else "Database is not available"
        message = message or monitor.trouble()
        body = {"message": message or "OK", "events_dropped": dropped.count, "platform": version}
        body |= {"patches_left_out": patches_left_out} if patches_left_out else {}
        return JSONResponse(body, 503 if message else 200)

    return Route(PATH, page)
