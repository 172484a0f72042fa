"""Tells clients to retry while the server cannot reach its database, and only then.

Prefect answers 500 then, which its clients take as final: a flow that ends at that moment is lost. Here they
are told to retry every few seconds for as long as the database is away.

The same holds for Redis, if several servers share one: changes that it has to record wait for it.

A database that is there but slow is different. A retry repeats the statement that took too long, so clients
are told to retry, but count their attempts as usual.
"""

import logging
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import redis.exceptions
from fastapi import FastAPI
from prefect.logging import get_logger
from prefect.settings import get_current_settings
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import asyncpg as dialects
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

RETRY_SECONDS = 2
MAINTENANCE = {"Prefect-Maintenance": "true"}  # clients do not count retries that follow it
REDIS_IS_AWAY = "Redis does not answer"
_logger: logging.Logger = get_logger("server")


class DatabaseAwayError(ConnectionError):
    """The database cannot be reached: it accepts no connection, or does not answer on an open one."""


# The driver's own errors tell of a connection that broke while it was in use.
AWAY: tuple[type[BaseException], ...] = (
    DatabaseAwayError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
)
_REDIS_AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


def answer_while_database_is_away(application: FastAPI) -> None:
    """Make Prefect's application answer 503, with the time after which to retry, during an outage."""
    if not event.contains(dialects.PGDialect_asyncpg, "do_connect", _connect):
        event.listen(dialects.PGDialect_asyncpg, "do_connect", _connect)
    api = api_of(application)
    stock = api.exception_handlers.get(Exception) if api else None
    if stock is None:
        _logger.warning("This Prefect has its API elsewhere: while the database is away, clients get errors")
        return

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, AWAY):
            return ask_again("The database does not answer", MAINTENANCE)
        if isinstance(error, _REDIS_AWAY):
            return ask_again(REDIS_IS_AWAY, MAINTENANCE)
        if isinstance(error, PoolTimeoutError):
            sentence = "All of the server's connections to its database are in use"
        elif isinstance(error, TimeoutError):
            seconds = get_current_settings().server.database.timeout
            sentence = (
                f"A statement took longer than {seconds:g} s (PREFECT_SERVER_DATABASE_TIMEOUT); "
                "the database is busy, or what was asked for is too much"
            )
        else:
            return await stock(request, error)
        _logger.error("%s %s: %s", request.method, request.url.path, sentence)
        return ask_again(sentence)

    api.add_exception_handler(Exception, answer)


def api_of(application: FastAPI) -> Any:
    """Return the API application that is mounted in Prefect's application; ``None`` if there is none."""
    mounted = (route for route in application.routes if isinstance(route, Mount) and route.name == "api")
    return next((route.app for route in mounted), None)


def ask_again(sentence: str, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """Return an answer that makes clients retry in a moment."""
    headers = {"Retry-After": str(RETRY_SECONDS), **headers}
    return JSONResponse({"exception_message": sentence}, 503, headers)


def _connect(dialect: Any, _: Any, arguments: Any, options: Any) -> Any:
    """Connect, and give failures here their own type: later ones may have the same names.

    Raises:
        DatabaseAwayError: No answer in time, a refused or broken connection, or a host name that is unknown
            while its container is stopped.
    """
    try:
        return dialect.connect(*arguments, **options)
    except (ConnectionError, TimeoutError, socket.gaierror) as error:
        raise DatabaseAwayError(f"{type(error).__name__}: {error}") from None
