"""Prints every route of the server, as JSON: its methods, or none for a websocket, and its path."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from prefect.server.api.server import create_app
from starlette.routing import Mount, WebSocketRoute


def routes_of(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[list[str], str]]:
    for route in routes:
        if included := getattr(route, "original_router", None):  # FastAPI keeps an included router as it is
            yield from routes_of(included.routes, prefix)
        elif isinstance(route, Mount) and route.routes:
            yield from routes_of(route.routes, prefix + route.path)
        elif isinstance(route, WebSocketRoute):
            yield [], prefix + route.path
        elif methods := getattr(route, "methods", None):
            yield sorted(methods), prefix + route.path
        else:  # a folder of files
            yield ["GET"], f"{prefix}{route.path}/index.html"


print(json.dumps(list(routes_of(create_app().routes))))
