"""Plays what may be in front of Yeedu: a proxy's error pages, a rate limit, a single API generation."""

from __future__ import annotations

import re
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from yeedu_mock.errors import MockError

if TYPE_CHECKING:
    from yeedu_mock.control.switches import Switches

API_PREFIX = "/api/"
KIND = r"/(?:spark/job|notebook)"
OF_V1 = re.compile(rf"[A-Z]+ .*{KIND}/(?:confs?(?:/|$)|kill/|\d+(?:$|/(?:status|log|kernel)))")
OF_V2 = re.compile(
    rf"[A-Z]+ .*{KIND}/(?:runs?(?:/|$)|enable$|disable$|export$|clone$|\d+/run/)|(?:GET|PUT) .*{KIND}$"
)


class Gateway:
    """Refuses API calls before they are handled, if switches say so."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._latest: deque[float] = deque()

    def refusal(self, method: str, path: str) -> Response | None:
        """Return the answer to a request that is refused, or None."""
        if not path.startswith(API_PREFIX):
            return None
        if self._is_too_many():
            wrong = MockError("Too many requests; wait a second.", code="RFA-000429")
            return JSONResponse(wrong.body(), 429, {"Retry-After": "1"})
        switches = self._switches
        if switches.gateway_status is not None:
            return page(switches.gateway_status, switches.gateway_page)
        other = {"all": None, "v1": OF_V2, "v2": OF_V1}[switches.generation]
        if other is not None and other.match(f"{method} {path}"):
            return page(switches.unknown_route_status, switches.gateway_page)
        return None

    def _is_too_many(self) -> bool:
        limit = self._switches.requests_per_second
        if limit is None:
            return False
        moment = time.monotonic()
        while self._latest and self._latest[0] <= moment - 1:
            self._latest.popleft()
        if len(self._latest) >= limit:
            return True
        self._latest.append(moment)
        return False


def page(status: int, form: str) -> Response:
    """Return an error page: a proxy's as `html` or `text`, or Yeedu's own as `json`."""
    phrase = HTTPStatus(status).phrase
    if form == "html":
        return HTMLResponse(
            f"<html>\n<head><title>{status} {phrase}</title></head>\n<body>\n"
            f"<center><h1>{status} {phrase}</h1></center>\n<hr><center>nginx</center>\n</body>\n</html>\n",
            status,
        )
    if form == "text":
        return PlainTextResponse(f"default backend - {status}", status)
    return JSONResponse(MockError(phrase, code=f"RFA-000{status}").body(), status)
