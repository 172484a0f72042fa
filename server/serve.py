#!/usr/bin/env python3
"""Starts the Prefect server in one process, as ``prefect server start`` does, but only behind the guard.

With ``PREFECT__SERVER_WEBSERVER_ONLY`` it serves only the API, beside others; `services` runs the rest.

Environment, beside Prefect's own settings:
    PREFECT_ALLOWED_HOSTS: Further host names under which the server is reached, separated by commas.
    PROXY_HOST: The name of the platform's proxy, if there is one: see server/forwarded.py.
    PREFECT_UI_URL: The UI's address as users type it; its host and origin are allowed.
    SERVER_ON_TRIAL: Set while an upgrade tries it on a copy of the data: see server/shared_state.py.
    SERVER_AWAITS_MIGRATION: Set if it may be started before `migrate.py` is done: it then waits for that.
"""

import argparse
import asyncio
import gc
import os
import resource
import sys

import uvicorn
from body_limit import BodyLimit
from connection_limits import (
    FILES_BESIDE,
    MAX_BYTES_OF_MESSAGE,
    MAX_CONNECTIONS,
    Connections,
    LimitedHttp,
    LimitedWebSocket,
)
from forwarded import Forwarded
from guard import Guard
from health import health_page, is_database_there
from listeners import bound_sockets
from login import Login
from openapi_schema import openapi_route
from outage import answer_while_database_is_away
from patches import (
    change_every_part,
    close_abandoned_cursors,
    report,
    take_locks_in_order,
    work_on_after_failures,
)
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from pydantic import SecretStr
from services_watchdog import ServicesMonitor, Watched, end
from shared_state import RedisGate, SharedStateError, check_redis, check_shared, is_api_alone

from yeedu_worker.patching import left_out


def main() -> None:
    """Serve until a signal ends the process."""
    if os.environ.get("SERVER_AWAITS_MIGRATION"):
        from migrate import wait_until_prepared  # not needed otherwise

        asyncio.run(wait_until_prepared())
    parser = argparse.ArgumentParser(description="Starts the Prefect server behind its guard.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; :: for all (default: %(default)s)"
    )
    parser.add_argument("--port", default=4200, type=int, help="port to listen on (default: %(default)s)")
    arguments = parser.parse_args()
    everything = get_current_settings()
    settings = everything.server
    try:
        if is_api_alone():
            check_shared(everything)
            asyncio.run(check_redis(everything))
    except SharedStateError as error:
        sys.exit(f"server: {error}")
    Connections.limit = min(MAX_CONNECTIONS, max(_files() - FILES_BESIDE, FILES_BESIDE))
    if line := left_out(report()):
        print(f"server: {line}", flush=True)
    monitor = ServicesMonitor()
    change_every_part(monitor)
    take_locks_in_order()
    close_abandoned_cursors()
    if is_api_alone():
        work_on_after_failures()
    application = create_app(final=True)
    answer_while_database_is_away(application)
    application.router.routes[:0] = [health_page(monitor, line), openapi_route(application)]
    api = RedisGate(application, everything) if is_api_alone() else application
    guard = Guard(
        Forwarded(Login(BodyLimit(api), _secret(settings.api.auth_string)), os.environ.get("PROXY_HOST", "")),
        allowed_hosts=os.environ.get("PREFECT_ALLOWED_HOSTS", "").split(","),
        ui_url=os.environ.get("PREFECT_UI_URL", ""),
    )
    gc.collect()
    gc.freeze()  # later collections skip what stays until the end
    try:
        sockets = bound_sockets(arguments.host, arguments.port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        sys.exit(f"server: cannot listen on {arguments.host}, port {arguments.port}: {reason}")
    config = uvicorn.Config(
        Watched(guard, monitor, is_database_there, end),
        http=LimitedHttp,
        ws=LimitedWebSocket,
        ws_max_size=MAX_BYTES_OF_MESSAGE,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )
    server = uvicorn.Server(config)
    server.run(sockets=sockets)
    if not server.started:
        sys.exit(1)


def _files() -> int:
    """Raise the limit of open files to what is needed, if allowed; return the limit."""
    wanted = MAX_CONNECTIONS + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < wanted:  # a negative number means no limit
        soft = min(wanted, hard) if hard >= 0 else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft if soft >= 0 else wanted


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""


if __name__ == "__main__":
    main()
