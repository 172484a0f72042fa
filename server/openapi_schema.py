"""The OpenAPI schema of Prefect's API, generated once.

Prefect makes it of all routes whenever somebody asks for it, login or not. That takes seconds, in which the
server does nothing else.
"""

import asyncio
import json

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def openapi_route(application: FastAPI) -> Route:
    """Return the page; it is made when it is first asked for, beside what else the server does."""
    made: asyncio.Future[bytes] | None = None

    def make() -> bytes:
        return json.dumps(application.openapi()).encode()

    async def page(_: Request) -> Response:
        nonlocal made
        if not made:
            made = asyncio.ensure_future(asyncio.to_thread(make))
        return Response(await asyncio.shield(made), media_type="application/json")

    return Route(str(application.openapi_url), page)
