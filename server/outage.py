"""Tells clients to wait while the server cannot reach its database.

Prefect answers 500 then, which its clients take for final: a flow that ends in that moment is lost. With this
they ask again every few seconds, for as long as the database is away.
"""

import socket

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from prefect.server.api import server
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

RETRY_SECONDS = 2
# Refused or broken connections, a name that is not known while its container is stopped, no answer in time.
UNREACHABLE: tuple[type[BaseException], ...] = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
)


def answer_while_database_is_away() -> None:
    """Make the application that Prefect creates next answer 503, and say when to ask again."""
    stock = server.custom_internal_exception_handler

    async def answer(request: Request, error: Exception) -> Response:
        if not isinstance(error, UNREACHABLE):
            return await stock(request, error)
        # Clients do not count what they ask again under `Prefect-Maintenance`.
        headers = {"Retry-After": str(RETRY_SECONDS), "Prefect-Maintenance": "true"}
        return JSONResponse({"exception_message": "The database does not answer"}, 503, headers)

    server.custom_internal_exception_handler = answer
