"""Serves the OpenAPI schema of Prefect's API, generated once.

Prefect generates it from all routes on every request for it, with or without a login. That takes seconds, in
which the server does nothing else.
"""

import asyncio
import json

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def openapi_route(application: FastAPI) -> Route:
    """Return the route of the page, which a thread generates at the first request, or after a failure."""
    made: asyncio.Future[bytes] | None = None

    def make() -> bytes:
        return json.dumps(application.openapi()).encode()

    async def page(_: Request) -> Response:
        nonlocal made
        if not made or (made.done() and made.exception()):
            made = asyncio.ensure_future(asyncio.to_thread(make))
        return Response(await asyncio.shield(made), media_type="application/json")

    return Route(str(application.openapi_url), page)
