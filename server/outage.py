"""Tells clients to wait while the server cannot reach its database, and nothing else but that.

Prefect answers 500 then, which its clients take for final: a flow that ends in that moment is lost. With this
they ask again every few seconds, for as long as the database is away.

A database that is there but slow is another matter. Asking again repeats the statement that took too long,
so clients are told to, but count their tries as always.
"""

import logging
import socket
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
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
_logger: logging.Logger = get_logger("server")


class DatabaseAwayError(ConnectionError):
    """The database cannot be reached: no connection can be made to it, or one that was made says nothing."""


# A connection that broke while it was in use is told by the driver's own errors.
AWAY: tuple[type[BaseException], ...] = (
    DatabaseAwayError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
)


def answer_while_database_is_away(application: FastAPI) -> None:
    """Make Prefect's application answer 503, and say when to ask again."""
    if not event.contains(dialects.PGDialect_asyncpg, "do_connect", _connect):
        event.listen(dialects.PGDialect_asyncpg, "do_connect", _connect)
    mounted = (route for route in application.routes if isinstance(route, Mount) and route.name == "api")
    api: Any = next((route.app for route in mounted), None)
    stock = api.exception_handlers.get(Exception) if api else None
    if stock is None:
        _logger.warning("This Prefect has its API elsewhere: while the database is away, clients get errors")
        return

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, AWAY):
            # Clients do not count what they ask again under `Prefect-Maintenance`.
            return _ask_again("The database does not answer", {"Prefect-Maintenance": "true"})
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
        return _ask_again(sentence, {})

    api.add_exception_handler(Exception, answer)


def _ask_again(sentence: str, headers: dict[str, str]) -> Response:
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
