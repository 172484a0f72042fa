"""Starts the platform's server as ``server/serve.py`` does, and counts its requests.

``GET /counts`` returns the counts since the previous one: how often each call and websocket came, how long it
took, and how many statements it made. ``python counting_server.py`` takes the arguments of ``serve.py``.
"""

import re
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

import serve
from guard import Guard
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.responses import JSONResponse

BESIDE = "beside calls"  # statements of the server's services
_NAMES_OF_RECORDS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=work_pools/)[^/]+|(?<=slug/)[^/]+(?=/)|(?<=name/)[^/]+"
)
_asked: ContextVar[str] = ContextVar("asked", default=BESIDE)
_counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))


class Counting:
    """The guarded application, with a count of every call.

    Args:
        options: The guard's options.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._app = Guard(*arguments, **options)

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Answer with the counts, or pass the call on and count it."""
        path = scope.get("path", "")
        if path == "/counts":
            counts = {name: dict(count) for name, count in _counts.items()}
            _counts.clear()
            await JSONResponse(counts)(scope, receive, send)
            return
        if scope["type"] == "lifespan" or path in {"/api/ready", "/api/health"}:
            await self._app(scope, receive, send)
            return
        name = f"{scope.get('method', 'websocket')} {_NAMES_OF_RECORDS.sub('{}', path).removeprefix('/api')}"
        counted = _counts[name]
        counted["times"] += 1
        _asked.set(name)

        async def count_and_receive() -> Any:
            message = await receive()
            _counts[name]["messages"] += message["type"] == "websocket.receive"
            _counts[name]["bytes"] += len(message.get("body", b""))
            return message

        began = time.perf_counter()
        await self._app(scope, count_and_receive, send)
        if scope["type"] == "http":
            _counts[name]["milliseconds"] += (time.perf_counter() - began) * 1000


def _count_statement(*_: Any) -> None:
    _counts[_asked.get()]["statements"] += 1


def _count_commit(*_: Any) -> None:
    _counts[_asked.get()]["commits"] += 1


if __name__ == "__main__":
    event.listen(Engine, "before_cursor_execute", _count_statement)
    event.listen(Engine, "commit", _count_commit)
    serve.Guard = Counting  # pyright: ignore[reportAttributeAccessIssue] - of the same shape
    serve.main()
