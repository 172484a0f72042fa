"""Checks the state that API servers and the services process share in Redis, and its settings.

One server keeps events, slots and background work in its own memory; several share them through Redis. If one
of the settings for that is missing, nothing fails visibly: states of task runs are missing, slots stay taken,
automations do not act. So a part of a server that would not share all of it does not start.
"""

import asyncio
import os
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from outage import MAINTENANCE, REDIS_IS_AWAY, ask_again
from prefect.settings import Settings
from pydantic import SecretStr
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Receive, Scope, Send

DOCKET = "prefect-server"  # Prefect's default, which API servers keep
SERVICES_DOCKET = "prefect-services"  # a separate one: a worker loses tasks that it does not know
POLL_SECONDS = 1.0
ANSWER_SECONDS = 3.0
_READS = ("/filter", "/count", "/paginate", "/history")  # by POST, because their filters are long
_STORAGES = {
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
}


class SharedStateError(Exception):
    """A part of a server would not share what it must; the message says what to set."""


def is_api_alone() -> bool:
    """Tell whether this process serves only the API, while another one runs the services.

    Not so for a server that an upgrade tries on a copy of the data: it shares nothing.
    """
    return bool(os.environ.get("PREFECT__SERVER_WEBSERVER_ONLY")) and not os.environ.get("SERVER_ON_TRIAL")


def check_shared(settings: Settings) -> None:
    """Refuse settings with which this process would not share what others need.

    Raises:
        SharedStateError: There is one; the message names it.
    """
    server = settings.server
    if not _plain(server.database.connection_url).startswith("postgresql"):
        raise SharedStateError(
            "API servers and services need one Postgres for all; set PREFECT_SERVER_DATABASE_HOST, or leave "
            "PREFECT__SERVER_WEBSERVER_ONLY out for one server"
        )
    found = {
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": server.events.messaging_broker,
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": server.events.messaging_cache,
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": server.events.causal_ordering,
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": server.concurrency.lease_storage,
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": server.worker_channel.cleanup_queue_storage,
    }
    for name, needed in _STORAGES.items():
        if found[name] != needed:
            raise SharedStateError(
                f"{name} is {found[name]}, which API servers and services do not share; "
                f"set REDIS_URL, from which all of it follows, or this to {needed}"
            )
    if server.docket.name != DOCKET:
        raise SharedStateError(
            f"PREFECT_SERVER_DOCKET_NAME is {server.docket.name}; leave it out, since background tasks are "
            "lost where it is not the same for all API servers, or where services have the same"
        )
    hosts = {name: _host(url) for name, url in _addresses(settings).items()}
    if len(set(hosts.values())) > 1:
        told = ", ".join(f"{name}: {host}" for name, host in hosts.items())
        raise SharedStateError(
            f"API servers and services need one Redis for all of it; set REDIS_URL alone ({told})"
        )


async def check_redis(settings: Settings) -> None:
    """Refuse to start without Redis.

    Raises:
        SharedStateError: It does not answer, or rejects the login.
    """
    redis = client_of(settings)
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        host = _host(settings.server.docket.url)
        raise SharedStateError(f"Redis at {host} cannot be used: {error or type(error).__name__}") from None
    finally:
        await close(redis)


class RedisGate:
    """An ASGI application that asks clients to retry while Redis, which is polled once a second, is away.

    Otherwise a change would hold a connection to the database during all retries of Redis.

    Args:
        app: The application.
        settings: Prefect's settings, with the address of Redis.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._is_there = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on reads, and everything while Redis is there; poll it between startup and shutdown."""
        if scope["type"] == "lifespan":
            looking = asyncio.create_task(self._poll())
            try:
                await self._app(scope, receive, send)
            finally:
                looking.cancel()
        elif self._is_there or scope["type"] != "http" or _only_reads(scope):
            await self._app(scope, receive, send)
        else:
            await ask_again(REDIS_IS_AWAY, MAINTENANCE)(scope, receive, send)

    async def _poll(self) -> None:
        redis = client_of(self._settings)
        try:
            while True:
                try:
                    await redis.ping()
                    self._is_there = True
                except (RedisError, OSError):
                    self._is_there = False
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await close(redis)


def _only_reads(scope: Scope) -> bool:
    return scope["method"] in {"GET", "HEAD", "OPTIONS"} or str(scope["path"]).endswith(_READS)


def client_of(settings: Settings) -> Any:
    """Return a client that does not retry, and has short timeouts."""
    connection: Any = import_module("prefect_redis.connection")
    return connection.redis_from_url(
        settings.server.docket.url,
        asynchronous=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


async def close(redis: Any) -> None:
    """Close a client of `client_of`."""
    connection: Any = import_module("prefect_redis.connection")
    await connection.aclose_redis_client(redis)


def _addresses(settings: Settings) -> dict[str, str]:
    """Return the three Redis addresses that Prefect has, by the name of their setting."""
    clients: Any = import_module("prefect_redis.client")
    queues: Any = import_module("prefect_redis.cleanup_queue")
    messaging, queue = clients.RedisMessagingSettings(), queues.RedisWorkerCleanupQueueSettings()
    return {
        "PREFECT_SERVER_DOCKET_URL": settings.server.docket.url,
        "PREFECT_REDIS_MESSAGING_URL": messaging.url or f"redis://{messaging.host}:{messaging.port}",
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": queue.url or f"redis://{queue.host}:{queue.port}",
    }


def _host(url: str) -> str:
    """Return an address without the login in it."""
    return urlsplit(url).netloc.rpartition("@")[2] or url


def _plain(value: SecretStr | str | None) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value or ""
