"""Plain calls of a Yeedu server: what was asked, and what came back, whatever that is."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from contract.settings import Place

JsonObject = dict[str, Any]
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
SUBMISSION_SECONDS = 600.0
TOO_MANY_REQUESTS = 429
MAX_PAUSE_SECONDS = 10.0
BODY_BYTES = 8 * 1024 * 1024
"""More of a body is not read: a log may be large, and a server need not know ranges."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status.
        headers: Names in any case.
        content: The body; cut off where it is very long.
        value: The body as JSON; None where it is none.
        seconds: How long it took.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    value: object
    seconds: float

    @property
    def fields(self) -> JsonObject:
        """The JSON object of the body, or the first one of a list; empty where there is none."""
        value = self.value
        if isinstance(value, list):
            value = next(iter(cast("list[object]", value)), None)
        return cast("JsonObject", value) if isinstance(value, dict) else {}

    @property
    def items(self) -> list[JsonObject]:
        """The objects of a list answer; empty where there are none."""
        data: object = self.value
        if not isinstance(data, list):
            data = self.fields.get("data")
        items = cast("list[object]", data) if isinstance(data, list) else []
        return [cast("JsonObject", item) for item in items if isinstance(item, dict)]

    @property
    def is_from_yeedu(self) -> bool:
        """Whether an error has the code that Yeedu's own errors have."""
        return bool(self.fields.get("error_code"))

    @property
    def clock_seconds(self) -> float | None:
        """The server's clock as its `Date` says, in seconds since 1970."""
        try:
            return parsedate_to_datetime(self.headers.get("Date", "")).timestamp()
        except ValueError:
            return None


@dataclass
class Server:
    """A Yeedu server, and a session with it.

    Attributes:
        place: Where it is, and which workspace is asked about.
        context: How certificates are checked.
        token: The session's, once there is one.
        limited: How many calls were refused as one too many.
    """

    place: Place
    context: ssl.SSLContext
    token: str | None = field(default=None, repr=False)
    limited: int = 0

    def __post_init__(self) -> None:
        """Open the connections' pool."""
        self._session = requests.Session()
        self._session.mount("https://", _Adapter(self.context))

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> Answer:
        """Make a call, and once more after a pause where it is refused as one too many.

        Args:
            method: The HTTP method.
            path: Below `/api/v1/`.
            body: Sent as JSON.
            params: The query.
            headers: Further ones.
            token: Sent instead of the session's.
            read_seconds: How long it may take.

        Raises:
            requests.RequestException: There was no answer.
        """
        answer = self._once(method, path, body, params, headers, token, read_seconds)
        if answer.status != TOO_MANY_REQUESTS:
            return answer
        self.limited += 1
        after = answer.headers.get("Retry-After", "")
        time.sleep(min(float(after) if after.isdecimal() else 1.0, MAX_PAUSE_SECONDS) + 0.1)
        return self._once(method, path, body, params, headers, token, read_seconds)

    def workspace(self, method: str, path: str, **arguments: Any) -> Answer:
        """Make a call about something in the workspace."""
        return self.ask(method, f"workspace/{self.place.workspace}/{path}", **arguments)

    def _once(
        self,
        method: str,
        path: str,
        body: object,
        params: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
        token: str | None,
        read_seconds: float,
    ) -> Answer:
        begun = time.monotonic()
        with self._session.request(
            method,
            f"{self.place.base_url}/api/v1/{path}",
            json=body,
            params=cast("Any", params),
            headers={"accept": "application/json", "Accept-Encoding": "identity", **(headers or {})},
            auth=_Bearer(token or self.token),
            timeout=(CONNECT_SECONDS, read_seconds),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = b""
            for piece in response.iter_content(65536):
                content += cast("bytes", piece)
                if len(content) >= BODY_BYTES:
                    break
            seconds = time.monotonic() - begun
            return Answer(response.status_code, response.headers, content, _json_of(content), seconds)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return how certificates are checked: the usual ones are trusted, and those of a file besides.

    Raises:
        ssl.SSLError: The file holds no certificates.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _json_of(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


class _Bearer(AuthBase):
    """Sends a token, or nothing: without it requests would take a password from `~/.netrc`."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(HTTPAdapter):
    """Makes connections with one TLS context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)  # pyright: ignore[reportUnknownMemberType]

    def proxy_manager_for(self, proxy: Any, **proxy_kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **proxy_kwargs, ssl_context=self._context)
