"""Declares all patches of Prefect and its libraries in the server, each with its purpose.

What a public interface allows is not a patch: the answers while the database is away come from a handler of
Prefect's application (`outage`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import alert_delivery
import alert_failures
import database_ping
import sqlite_locks
from background_worker import working_on

from yeedu_worker.patching import Patches, PatchState, Place

if TYPE_CHECKING:
    from services_watchdog import ServicesMonitor

PATCHES = Patches()
_PING = Place("sqlalchemy.dialects.postgresql.asyncpg:PGDialect_asyncpg.do_ping", "(self, dbapi_connection)")
_BEGIN = Place(
    "prefect.server.database.configurations:AioSqliteConfiguration.begin_transaction",
    "(self, session, with_for_update=)",
)
_MODE = Place("prefect.server.database.configurations:SQLITE_BEGIN_MODE")
_CURSOR = Place("aiosqlite.cursor:Cursor.close", "(self)")
_ACT = Place("prefect.server.events.actions:SendNotification.act", "(self, triggered_action)")
_CONSUMER = Place("prefect.server.events.actions:consumer", "()")
_WORK = Place("docket.worker:Worker.run_forever", "(self)")
_SERVICES = Place(
    "prefect.server.services.perpetual_services:get_perpetual_services", "(ephemeral=, webserver_only=)"
)


@PATCHES.declare(
    "one round trip",
    _PING,
    purpose="Postgres is asked once whether a connection lives, not three times",
)
def ping_in_one_round_trip() -> None:
    """Patch the check of connections to Postgres."""
    _PING.replace(database_ping.ping)


@PATCHES.declare(
    "locks of SQLite",
    _BEGIN,
    _MODE,
    purpose="a transaction waits for the lock when it begins, and does not fail",
)
def take_locks_in_order() -> None:
    """Patch the beginning of transactions on SQLite."""
    _BEGIN.replace(sqlite_locks.locking(_BEGIN.find(), _MODE.find()))


@PATCHES.declare(
    "cursors of SQLite",
    _CURSOR,
    Place("aiosqlite.cursor:Cursor.__init__", "(self, conn, cursor)", ("_conn", "_cursor")),
    Place("aiosqlite.core:Connection.__init__", names=("_tx",)),
    purpose="what nobody closed is closed in its connection's thread, for which nobody waits",
)
def close_abandoned_cursors() -> None:
    """Patch the handling of cursors that nobody closed."""
    kind: Any = Place("aiosqlite.cursor:Cursor").find()
    kind.close, kind.__del__ = sqlite_locks.noting(kind.close), sqlite_locks.abandon


@PATCHES.declare(
    "failures of alerts",
    _ACT,
    purpose="what could not be delivered is tried again, and its address, which is a secret, is not logged",
)
def keep_addresses_out_of_failures() -> None:
    """Patch the sending of notifications."""
    _ACT.replace(alert_failures.delivering(_ACT.find()))


@PATCHES.declare(
    "lanes of alerts",
    _CONSUMER,
    Place("prefect.server.events.services.actions:Actions.start", names=("consumer",)),
    purpose="alerts to a place that does not answer hold up no other action of automations",
)
def deliver_beside_other_actions() -> None:
    """Patch the consumer of actions."""
    _CONSUMER.replace(alert_delivery.beside(_CONSUMER.find()))


@PATCHES.declare(
    "docket goes on",
    _WORK,
    Place("docket.worker:Worker.__init__", names=("redelivery_timeout",)),
    Place("prefect.server.api.background_workers:background_worker", names=("run_forever",)),
    purpose="background work outlives whatever Redis answers, and soon goes on where its worker was killed",
)
def work_on_after_failures() -> None:
    """Patch the worker of background tasks, which include the services' rounds."""
    _WORK.replace(working_on(_WORK.find()))


@PATCHES.declare(
    "pulse",
    _SERVICES,
    Place(
        "prefect.server.services.perpetual_services:register_and_schedule_perpetual_services",
        names=("get_enabled_perpetual_services", "function"),
    ),
    purpose="the server is started anew when its services stand still; without it, when its event loop does",
)
def watch_services(monitor: ServicesMonitor) -> None:
    """Have the monitor record every round of every service that runs in this process.

    An API server beside a process of services runs none that needs watching, only an optional user count.
    """
    monitor.watch([] if os.environ.get("PREFECT__SERVER_WEBSERVER_ONLY") else _SERVICES.find()())


def change_every_part(monitor: ServicesMonitor) -> None:
    """Apply the patches that API servers and services share, and have the monitor watch the services."""
    monitor.sees_services = watch_services(monitor)
    ping_in_one_round_trip()
    keep_addresses_out_of_failures()
    deliver_beside_other_actions()


def report() -> list[PatchState]:
    """Return the state of every patch in this process; call this before any is applied."""
    return PATCHES.report()
