#!/usr/bin/env python3
"""Runs Prefect's background services, beside API servers that run none: scheduler, automations, retention.

One process is enough. A second one, started by mistake, shares the work: each round of a service is one task
in Redis, and each event goes to one of the two.

It answers only health checks, at the same path as a server.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import uvicorn
from docket import Docket
from health import health_page, is_database_there
from listeners import bound_sockets
from lost_leases import free_lost_slots
from migrate import wait_until_prepared
from outage import api_of
from patches import change_every_part, report, work_on_after_failures
from prefect.logging import get_logger
from prefect.server.api.background_workers import background_worker
from prefect.server.api.server import create_app
from prefect.server.services.base import RunInWebservers, Service
from prefect.settings import Settings, get_current_settings
from services_watchdog import ServicesMonitor, Watched, end
from shared_state import SERVICES_DOCKET, SharedStateError, check_redis, check_shared, is_api_alone
from starlette.applications import Starlette

from yeedu_worker.patching import left_out

_logger: logging.Logger = get_logger("server.services")


def main() -> None:
    """Run until a signal or the end of a service ends the process."""
    if os.environ.get("SERVER_AWAITS_MIGRATION"):  # see server/serve.py
        asyncio.run(wait_until_prepared())
    parser = argparse.ArgumentParser(description="Runs Prefect's background services, beside API servers.")
    parser.add_argument("--host", default="127.0.0.1", help="of the page of health (default: %(default)s)")
    parser.add_argument("--port", default=4200, type=int, help="and its port (default: %(default)s)")
    arguments = parser.parse_args()
    settings = get_current_settings()
    if is_api_alone():
        sys.exit("services: PREFECT__SERVER_WEBSERVER_ONLY is for API servers; leave it out here")
    try:
        check_shared(settings)
        asyncio.run(check_redis(settings))
        sockets = bound_sockets(arguments.host, arguments.port)
    except SharedStateError as error:
        sys.exit(f"services: {error}")
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        sys.exit(f"services: cannot listen on {arguments.host}, port {arguments.port}: {reason}")
    if line := left_out(report()):
        print(f"services: {line}", flush=True)
    monitor = ServicesMonitor()
    change_every_part(monitor)
    work_on_after_failures()
    application = Starlette(
        routes=[health_page(monitor, line)], lifespan=partial(_running, settings, monitor)
    )
    config = uvicorn.Config(
        Watched(application, monitor, is_database_there, end),
        log_level=settings.server.logging_level.lower(),
        access_log=False,
    )
    server = uvicorn.Server(config)
    server.run(sockets=sockets)
    if not server.started:
        sys.exit(1)


@asynccontextmanager
async def _running(settings: Settings, monitor: ServicesMonitor, _: Starlette) -> AsyncGenerator[None]:
    """Run all services: those that work in rounds, in docket, and those that follow events and logs."""
    docket = partial(Docket, url=settings.server.docket.url, execution_ttl=timedelta(0))
    async with AsyncExitStack() as stack:
        # Automations call the API inside this process; the background work it defers goes to API servers.
        api: Any = api_of(create_app(final=True))
        api.state.docket = await stack.enter_async_context(docket(name=settings.server.docket.name))
        rounds = await stack.enter_async_context(docket(name=SERVICES_DOCKET))
        await stack.enter_async_context(background_worker(rounds))
        await stack.enter_async_context(_following(monitor))
        freeing = asyncio.create_task(free_lost_slots(settings))
        stack.callback(freeing.cancel)
        yield


@asynccontextmanager
async def _following(monitor: ServicesMonitor) -> AsyncGenerator[None]:
    """Run the services that follow events, except those that API servers run for their own clients."""
    services = [kind() for kind in Service.enabled_services() if not issubclass(kind, RunInWebservers)]
    tasks = [asyncio.create_task(service.start(), name=service.name) for service in services]
    is_over = False

    def has_ended(task: "asyncio.Task[None]") -> None:
        failure = None if task.cancelled() else task.exception()
        if not is_over:
            _logger.error("The service %s has ended", task.get_name(), exc_info=failure)
            monitor.over(task.get_name(), failure)

    for task in tasks:
        task.add_done_callback(has_ended)
    try:
        yield
    finally:
        is_over = True
        await asyncio.gather(*(service.stop() for service in services), return_exceptions=True)
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main()
