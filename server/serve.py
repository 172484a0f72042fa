#!/usr/bin/env python3
"""Starts the Prefect server behind the guard: ``prefect server start`` of one process, with no way around it.

Environment, beside Prefect's own settings:
    PREFECT_ALLOWED_HOSTS: Further host names under which the server is reached, separated by commas.
    PREFECT_UI_URL: The UI's address as users type it; its host and origin are allowed.
"""

import argparse
import gc
import os
import sys

import uvicorn
from alert_failures import keep_addresses_out_of_failures
from database_ping import ping_in_one_round_trip
from guard import Guard
from listeners import bound_sockets
from outage import answer_while_database_is_away
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from sqlite_locks import take_locks_in_order


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description="Starts the Prefect server behind its guard.")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; :: for all (default: %(default)s)"
    )
    parser.add_argument("--port", default=4200, type=int, help="port to listen on (default: %(default)s)")
    arguments = parser.parse_args()
    settings = get_current_settings().server
    ping_in_one_round_trip()
    take_locks_in_order()
    answer_while_database_is_away()
    keep_addresses_out_of_failures()
    application = create_app(final=True)
    gc.collect()
    gc.freeze()  # what stays until the end need not be looked through again and again
    try:
        sockets = bound_sockets(arguments.host, arguments.port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        sys.exit(f"server: cannot listen on {arguments.host}, port {arguments.port}: {reason}")
    config = uvicorn.Config(
        Guard(
            application,
            allowed_hosts=os.environ.get("PREFECT_ALLOWED_HOSTS", "").split(","),
            ui_url=os.environ.get("PREFECT_UI_URL", ""),
        ),
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )
    server = uvicorn.Server(config)
    server.run(sockets=sockets)
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    main()
