"""The watchdog of the server's background services: ends the server when they hang, so that it restarts.

Prefect's scheduler and other services run beside the API, in one process and with one library (docket). If
they stop, the API still answers that all is well, but no scheduled runs are created. Three things are
watched: whether the event loop turns, whether any service has ended a round lately, and whether the scheduler
has ended one successfully.

All of that can also be due to a database that is away, which a restart does not fix, so time without it does
not count; nor does time in which the process itself was held up. A restart does not fix a scheduler that
fails because of the database's answers either, or one that has not succeeded since the start: then the server
reports itself as unhealthy, and goes on serving.
"""

import asyncio
import contextlib
import faulthandler
import functools
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from docket import Perpetual
from outage import AWAY
from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SCHEDULER = "schedule_deployments"
# Most services are due every few seconds. The scheduler is due once a minute, and takes long with thousands
# of deployments.
UNHEALTHY_SECONDS, END_SECONDS = 120.0, 300.0
UNHEALTHY_SCHEDULER_SECONDS, END_SCHEDULER_SECONDS = 300.0, 900.0
SECONDS_TO_END = 20.0
POLL_SECONDS = 5.0
EXIT_CODE = 75  # EX_TEMPFAIL: try again
# Failures that a restart does not fix: the database is slow, full, or not as it should be.
_LASTING = (TimeoutError, DBAPIError, *AWAY)
Service = Callable[..., Awaitable[None]]


class ServicesMonitor:
    """Records what the services were last seen to do, and judges it.

    Args:
        clock: Tells the time in seconds.

    Attributes:
        sees_services: Whether services are watched; if not, only the event loop is judged.
    """

    sees_services = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._has_services = self._has_scheduler = True
        self._has_succeeded = False
        self._failure: BaseException | None = None
        self._over = ""
        self.reset()

    def reset(self) -> None:
        """Restart all timeouts, as after a time that says nothing about the services."""
        self._turned = self._moved = self._scheduled = self._clock()

    def turn(self, *, has_database: bool) -> None:
        """Record that the event loop turns, and whether the database was there."""
        if has_database:
            self._turned = self._clock()
        else:
            self.reset()

    def ended(self, name: str, failure: BaseException | None = None) -> None:
        """Record that a service has ended one round."""
        self._moved = self._clock()
        if name == SCHEDULER:
            self._failure = failure
        if name == SCHEDULER and not failure:
            self._scheduled = self._moved
            self._has_succeeded = True

    def over(self, name: str, failure: BaseException | None = None) -> None:
        """Record that a service which should run for ever, without rounds, has ended."""
        self._over = f"the service {name} has ended{f' ({type(failure).__name__})' if failure else ''}"

    def trouble(self) -> str:
        """Return what is wrong with the services; an empty string if all is well."""
        return self._over or self._still(UNHEALTHY_SECONDS) or self._unscheduled(UNHEALTHY_SCHEDULER_SECONDS)

    def end(self) -> str:
        """Return why the server has to be restarted; an empty string if it does not."""
        if still := self._over or self._still(END_SECONDS):
            return still
        is_recovered = self._failure is None or (
            self._has_succeeded and not isinstance(self._failure, _LASTING)
        )
        return self._unscheduled(END_SCHEDULER_SECONDS) if is_recovered else ""

    def _still(self, most_seconds: float) -> str:
        now = self._clock()
        if now - self._turned > most_seconds:
            return f"the event loop has not turned for {now - self._turned:.0f} s"
        if self.sees_services and self._has_services and now - self._moved > most_seconds:
            return f"none of the server's services has ended a round for {now - self._moved:.0f} s"
        return ""

    def _unscheduled(self, most_seconds: float) -> str:
        if not (self.sees_services and self._has_scheduler):
            return ""
        seconds = self._clock() - self._scheduled
        why = f" ({type(self._failure).__name__}; its log says more)" if self._failure else ""
        return f"the scheduler has made no run for {seconds:.0f} s{why}" if seconds > most_seconds else ""

    def watch(self, services: Iterable[Any]) -> None:
        """Record every round of those of Prefect's perpetual services that settings do not switch off.

        Services that are due less often than `UNHEALTHY_SECONDS` are not expected to show progress.
        """
        names = set[str]()
        for service in services:
            if service.enabled_getter():
                if _interval_seconds(service.function) < UNHEALTHY_SECONDS:
                    names.add(service.function.__name__)
                service.function = self._noted(service.function)
        self._has_services, self._has_scheduler = bool(names), SCHEDULER in names

    def _noted(self, service: Service) -> Service:
        @functools.wraps(service)
        async def noted(*arguments: Any, **options: Any) -> None:
            try:
                await service(*arguments, **options)
            except Exception as error:
                self.ended(service.__name__, error)
                raise
            self.ended(service.__name__)

        return noted


def _interval_seconds(service: Service) -> float:
    """Return docket's interval for a service; 0 if its parameters' defaults do not tell."""
    defaults = [parameter.default for parameter in inspect.signature(service).parameters.values()]
    return next((one.every.total_seconds() for one in defaults if isinstance(one, Perpetual)), 0.0)


class Watched:
    """An ASGI application that is watched while it runs.

    Args:
        app: The application.
        monitor: The monitor of its services.
        is_database_there: Tells whether the database answers.
        end: Ends the process, given the reason.
    """

    def __init__(
        self,
        app: ASGIApp,
        monitor: ServicesMonitor,
        is_database_there: Callable[[], Awaitable[bool]],
        end: Callable[[str], None],
    ) -> None:
        self._app = app
        self._monitor = monitor
        self._is_database_there = is_database_there
        self._end = end
        self._is_over = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; watch between startup and shutdown."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        beating: list[asyncio.Task[None]] = []

        async def send_noted(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._monitor.reset()
                beating.append(asyncio.create_task(self._beat()))
                threading.Thread(target=self._watch, name="services-watchdog", daemon=True).start()
            await send(message)

        async def receive_noted() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._is_over.set()
            return message

        try:
            await self._app(scope, receive_noted, send_noted)
        finally:
            self._is_over.set()
            for task in beating:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                has_database = await asyncio.wait_for(self._is_database_there(), 6 * POLL_SECONDS)
            except Exception:  # noqa: BLE001 - whatever the reason, the database was not there
                has_database = False
            self._monitor.turn(has_database=has_database)

    def _watch(self) -> None:
        """Watch from outside the event loop, which may be what hangs."""
        then = time.monotonic()
        while not self._is_over.wait(POLL_SECONDS):
            now = time.monotonic()
            if now - then > 3 * POLL_SECONDS:  # the whole process was held up
                self._monitor.reset()
            then = now
            if reason := self._monitor.end():
                self._end(reason)
                return


def end(reason: str) -> None:
    """End this process, in order if it still can, so that its supervisor restarts it."""
    _say(reason)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os._exit(EXIT_CODE)


def _say(reason: str) -> None:
    """Write the reason and every thread's stack, bypassing logging, whose lock a hung thread may hold."""
    sys.stderr.write(f"server: {reason}, and the database is there: starting anew. What it was at:\n")
    faulthandler.dump_traceback()
    sys.stderr.flush()
