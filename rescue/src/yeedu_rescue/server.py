"""A client of the Prefect server's REST API that needs only the standard library."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from yeedu_rescue.errors import LoginRefused, ServerRefused, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

JSON = dict[str, Any]

_SKEW = timedelta(hours=1)  # a worker's clock may be ahead of the server's
# Prefect's clients time out after a minute, and this platform's heartbeats after half a minute: to them, too,
# a server that takes longer is down.
TIMEOUT_SECONDS = 30.0
_PAUSES_SECONDS = (0.5, 1.0, 2.0)
_PAGE = 200  # the most that the server gives at once
_CSRF_TOKEN = "Prefect-Csrf-Token"  # noqa: S105 - a header's name
_UNAUTHORIZED, _NOT_THERE = 401, frozenset({404, 405})


class Server:
    """The REST API of one Prefect server.

    Args:
        api_url: For example ``http://server:4200/api``.
        auth_string: ``user:password``, or empty if the server requires none.
        api_key: Its API key, if the server requires one; a login takes precedence.

    Attributes:
        listeners: Called on every answer, whatever its status.
    """

    def __init__(self, api_url: str, auth_string: str = "", api_key: str = "") -> None:
        self._api_url = api_url
        host = urlsplit(api_url).hostname or ""
        is_near = "." not in host or host.startswith("127.")  # a container's name, or this machine
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_near else []))
        self._setting = "PREFECT_API_AUTH_STRING" if auth_string or not api_key else "PREFECT_API_KEY"
        self._says_when_ready = True
        self._headers = {"Content-Type": "application/json", "Prefect-Csrf-Client": f"rescue-{uuid.uuid4()}"}
        if auth_string:
            self._headers["Authorization"] = "Basic " + base64.b64encode(auth_string.encode()).decode()
        elif api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._renewing = threading.Lock()
        self._time: datetime | None = None
        self.listeners: list[Callable[[], None]] = []

    def time(self) -> datetime:
        """Return the time on the server's clock, to the second, as of its latest answer.

        Raises:
            ServerUnavailable: It has not answered yet.
        """
        if self._time is None:
            raise ServerUnavailable(f"{self._api_url} has not answered yet, so its time is unknown")
        return self._time

    def check(self) -> None:
        """Raise unless the server and its database answer.

        Prefect Cloud has no readiness endpoint, so another request is sent there.

        Raises:
            ServerError: They do not; see `errors`.
        """
        if self._says_when_ready:
            try:
                self.get("/ready")
            except ServerRefused as refused:
                if refused.status not in _NOT_THERE:
                    raise
                self._says_when_ready = False
        if not self._says_when_ready:
            self.post("/work_pools/filter", {"limit": 1})

    def send_event(self, event: JSON) -> bool:
        """Send an event; return whether the server takes events over HTTP.

        Raises:
            ServerError: See `errors`.
        """
        try:
            self.post("/events", [event])
        except ServerRefused as refused:
            if refused.status not in _NOT_THERE:
                raise
            return False
        return True

    def events(self, conditions: JSON, limit: int) -> list[JSON]:
        """Return the latest events that match a filter, the latest first.

        Raises:
            ServerError: See `errors`.
        """
        until = self.time() + _SKEW
        body = {
            "filter": {**conditions, "occurred": {"until": until.isoformat()}, "order": "DESC"},
            "limit": limit,
        }
        return self.post("/events/filter", body)["events"]

    def get(self, path: str) -> Any:
        """Return what is at the path.

        Raises:
            ServerError: See `errors`.
        """
        return self._call("GET", path)

    def post(self, path: str, body: Any) -> Any:
        """Post JSON and return the answer.

        Raises:
            ServerError: See `errors`.
        """
        return self._call("POST", path, body)

    def patch(self, path: str, body: Any) -> None:
        """Change what is at the path.

        Raises:
            ServerError: See `errors`.
        """
        self._call("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Delete what is at the path.

        Raises:
            ServerError: See `errors`.
        """
        self._call("DELETE", path)

    def pages(self, path: str, body: JSON) -> Iterator[JSON]:
        """Yield everything that matches a filter, page by page.

        Raises:
            ServerError: See `errors`.
        """
        offset = 0
        while True:
            page: list[JSON] = self.post(path, {**body, "limit": _PAGE, "offset": offset})
            yield from page
            offset += len(page)
            if len(page) < _PAGE:
                return

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        token = self._headers.get(_CSRF_TOKEN)
        try:
            return self._ask_with_retries(method, path, body)
        except ServerRefused as refused:
            if refused.status != 403 or "CSRF" not in refused.message:
                raise
        with self._renewing:
            if self._headers.get(_CSRF_TOKEN) == token:  # another thread may have been faster
                answer: JSON = self._ask("GET", f"/csrf-token?client={self._headers['Prefect-Csrf-Client']}")
                self._headers[_CSRF_TOKEN] = answer["token"]
        return self._ask(method, path, body)

    def _ask_with_retries(self, method: str, path: str, body: Any) -> Any:
        """Send a request; retry while the server is busy, as it may be when its database is under load."""
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return self._ask(method, path, body)
            except ServerUnavailable as unavailable:
                if not unavailable.is_busy:
                    raise
            time.sleep(pause_seconds)
        return self._ask(method, path, body)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the address is the platform's own
            self._api_url + path, data, self._headers, method=method
        )
        what = f"{method} {self._api_url}{path}"
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                content = response.read()
                self._note_answer(response.headers.get("Date"))
                return json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(500).decode(errors="replace")
            self._note_answer(error.headers.get("Date"))
            if error.code >= 500 or error.code == 429:
                raise ServerUnavailable(f"{what}: {error.code}", is_busy=True) from None
            if error.code == _UNAUTHORIZED:
                told = f"the server rejects the login; check {self._setting} or its file"
                raise LoginRefused(f"{what}: {error.code} {told}", error.code) from None
            raise ServerRefused(f"{what}: {error.code} {text}", error.code) from None
        except (OSError, HTTPException, ValueError) as error:
            raise ServerUnavailable(f"{what}: {error}") from None

    def _note_answer(self, date: str | None) -> None:
        if date:
            self._time = parsedate_to_datetime(date)
        for listener in self.listeners:
            listener()
