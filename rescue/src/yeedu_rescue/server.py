"""Talks to the REST API of the Prefect server, with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
import uuid
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from yeedu_rescue.errors import ServerRefused, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

JSON = dict[str, Any]

_TIMEOUT_SECONDS = 15
_PAUSES_SECONDS = (0.5, 1.0, 2.0)
_PAGE = 200  # the most that the server gives at once
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Server:
    """The REST API of one Prefect server.

    Args:
        api_url: For example ``http://server:4200/api``.
        auth_string: ``user:password``, or empty when the server asks for none.
    """

    def __init__(self, api_url: str, auth_string: str = "") -> None:
        self._api_url = api_url
        self._headers = {"Content-Type": "application/json", "Prefect-Csrf-Client": f"rescue-{uuid.uuid4()}"}
        if auth_string:
            self._headers["Authorization"] = "Basic " + base64.b64encode(auth_string.encode()).decode()
        self._time: datetime | None = None

    def time(self) -> datetime:
        """Return the time on the server's clock, to the second, as of its latest answer.

        Raises:
            ServerUnavailable: It has not answered yet.
        """
        if self._time is None:
            raise ServerUnavailable(f"{self._api_url} has not told its time")
        return self._time

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
        """Yield everything that a filter finds.

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
        try:
            return self._ask_patiently(method, path, body)
        except ServerRefused as refused:
            if refused.status != 403 or "CSRF" not in refused.message:
                raise
        token: JSON = self._ask("GET", f"/csrf-token?client={self._headers['Prefect-Csrf-Client']}")
        self._headers["Prefect-Csrf-Token"] = token["token"]
        return self._ask(method, path, body)

    def _ask_patiently(self, method: str, path: str, body: Any) -> Any:
        """Ask again while the server is busy, which a database under load makes it for moments."""
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
            with _NO_PROXY.open(request, timeout=_TIMEOUT_SECONDS) as response:
                content = response.read()
                self._note_time(response.headers.get("Date"))
                return json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(500).decode(errors="replace")
            if error.code >= 500 or error.code == 429:
                raise ServerUnavailable(f"{what}: {error.code}", is_busy=True) from None
            raise ServerRefused(f"{what}: {error.code} {text}", error.code) from None
        except (OSError, HTTPException, ValueError) as error:
            raise ServerUnavailable(f"{what}: {error}") from None

    def _note_time(self, date: str | None) -> None:
        if date:
            self._time = parsedate_to_datetime(date)
