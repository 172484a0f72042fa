"""Tells clients to retry while the server cannot reach its database, and only then.

Prefect answers 500 then, which its clients take for final: a flow that ends in that moment is lost. With this
they ask again every few seconds, for as long as the database is away.

Redis, where several servers share one, is no other matter: changes that it should hear of wait for it.

A database that is there but slow is another matter. Asking again repeats the statement that took too long,
so clients are told to, but count their tries as always.
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
MAINTENANCE = {"Prefect-Maintenance": "true"}  # clients do not count what they ask again under it
REDIS_IS_AWAY = "Redis does not answer"
_logger: logging.Logger = get_logger("server")


class DatabaseAwayError(ConnectionError):
    """The database cannot be reached: no connection can be made to it, or one that was made says nothing."""


# A connection that broke while it was in use is told by the driver's own errors.
AWAY: tuple[type[BaseException], ...] = (
    DatabaseAwayError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
)
_REDIS_AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


def answer_while_database_is_away(application: FastAPI) -> None:
    """Make Prefect's application answer 503, and say when to ask again."""
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
    """Return the API of Prefect's application, which is one of its own; ``None`` where that is elsewhere."""
    mounted = (route for route in application.routes if isinstance(route, Mount) and route.name == "api")
    return next((route.app for route in mounted), None)


def ask_again(sentence: str, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """Return the answer that has clients ask once more in a moment."""
    headers = {"Retry-After": str(RETRY_SECONDS), **headers}
    return JSONResponse({"exception_message": sentence}, 503, headers)


def _connect(dialect: Any, _: Any, arguments: Any, options: Any) -> Any:
    """Connect, and tell apart what fails here from what fails later under the same names.

    Raises:
        DatabaseAwayError: No answer in time, a refused or broken connection, or a name that is not known
            while its container is stopped.
    """
    try:
        return dialect.connect(*arguments, **options)
    except (ConnectionError, TimeoutError, socket.gaierror) as error:
        raise DatabaseAwayError(f"{type(error).__name__}: {error}") from None
