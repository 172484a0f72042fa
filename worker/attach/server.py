"""A client of the Prefect server's REST API that uses only the standard library."""

import base64
import hashlib
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from attach.errors import AttachError
from yeedu_worker.printable import printable

_TIMEOUT_SECONDS = 10
_TRIES, _PAUSE_SECONDS = 5, 0.5
_LONGEST_SENTENCE = 300  # characters
NOT_THERE = frozenset({404, 405})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class UnreachableError(AttachError):
    """Nothing answered at an address; the message says why, as far as known."""


@dataclass(frozen=True)
class Answer:
    """What an HTTP server answered, success or not.

    Attributes:
        date: The server's time, to the second; `None` if it sent none.
    """

    status: int
    body: bytes
    date: datetime | None = None

    def json(self) -> Any:
        """Return the body's value; `None` when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def sentence(self) -> str:
        """Return a body that is one line of plain text, made safe for a terminal; empty for any other."""
        line = self.body.decode(errors="replace").strip()
        return "" if "\n" in line or line.startswith(("<", "{")) else printable(line[:_LONGEST_SENTENCE])


def ask(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: object = None, context: Any = None
) -> Answer:
    """Make one HTTP request.

    Args:
        method: For example ``GET``.
        url: An http or https address.
        headers: Sent in addition to the usual ones.
        body: Sent as JSON, unless `None`.
        context: The TLS context; `None` for the system's.

    Raises:
        UnreachableError: There was no answer.
    """
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, dict(headers or {}), method=method)  # noqa: S310 - checked
    if content is not None:
        request.add_header("Content-Type", "application/json")
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if urlsplit(url).hostname in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_SECONDS) as response:
            return _answer(response.status, response.read(), response.headers.get("Date"))
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.read(), error.headers.get("Date"))
    except (OSError, HTTPException, ValueError) as error:
        raise UnreachableError(_reason(error)) from None


def _answer(status: int, body: bytes, date: str | None) -> Answer:
    try:
        return Answer(status, body, parsedate_to_datetime(date) if date else None)
    except ValueError:
        return Answer(status, body)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return "its host name does not resolve"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing answers there"
    if isinstance(cause, TimeoutError):
        return f"no answer in {_TIMEOUT_SECONDS} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted ({cause.verify_message}); set SSL_CERT_FILE to its CA"
    if isinstance(cause, ssl.SSLError) and cause.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "it does not speak TLS; should the address begin with http:// ?"
    return str(cause) or type(cause).__name__


def api_url(address: str) -> str:
    """Return the API's URL for the server's address as a user gives it.

    Raises:
        AttachError: It is not an http or https address.
    """
    url = address.strip().rstrip("/")
    parts = urlsplit(url)
    try:
        is_complete = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete or parts.query or parts.fragment or parts.username is not None:
        raise AttachError(
            f"--server {address!r}: give the address that this machine's browser would open, without a "
            f"login, for example http://prefect.example.com:8080"
        )
    return url if re.search(r"/api(/|$)", parts.path) else f"{url}/api"


class Server:
    """The REST API of one Prefect server.

    Args:
        url: For example ``http://prefect.example.com:8080/api``.
        auth_string: ``user:password``, or empty for none.
        api_key: Its API key, for a server that asks for one; empty for none. A login takes precedence.
    """

    def __init__(self, url: str, auth_string: str = "", api_key: str = "") -> None:
        self.url = url
        self.has_login = bool(auth_string)
        self.has_key = bool(api_key) and not auth_string
        self._headers: dict[str, str] = {}
        if auth_string:
            self._headers["Authorization"] = "Basic " + base64.b64encode(auth_string.encode()).decode()
        elif api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send one request to the API; retry after a 503, which a server answers while its database is busy.

        Raises:
            UnreachableError: There was no answer.
        """
        for _ in range(_TRIES - 1):
            answer = ask(method, self.url + path, self._headers, body)
            if answer.status != 503:
                return answer
            time.sleep(_PAUSE_SECONDS)
        return ask(method, self.url + path, self._headers, body)

    def readiness(self) -> Answer:
        """Return the answer that tells whether the server and its database are ready.

        Prefect Cloud has no page for that; there, another request stands in for it.

        Raises:
            UnreachableError: There was no answer.
        """
        answer = self.ask("GET", "/ready")
        return self.ask("POST", "/work_pools/filter", {"limit": 1}) if answer.status in NOT_THERE else answer

    def needs_login(self) -> bool:
        """Tell whether the server refuses requests with the present login; false if it does not answer."""
        try:
            return 401 in {self.readiness().status, self.ask("GET", "/admin/version").status}
        except UnreachableError:
            return False

    def platform(self) -> str:
        """Return the platform version that the server reports; empty if it reports none."""
        try:
            told = self.ask("GET", "/health/services").json()
        except UnreachableError:
            return ""
        return str(told.get("platform") or "") if isinstance(told, dict) else ""  # pyright: ignore

    def pool(self, pool: str) -> Answer:
        """Return the answer that describes a work pool."""
        return self.ask("GET", f"/work_pools/{quote(pool, safe='')}")

    def pool_names(self) -> list[str]:
        """Return the names of the work pools that the server has."""
        pools = self.ask("POST", "/work_pools/filter", {}).json()
        return sorted(str(pool["name"]) for pool in pools) if isinstance(pools, list) else []  # pyright: ignore

    def queue_names(self, pool: str) -> list[str]:
        """Return the names of a pool's queues."""
        path = f"/work_pools/{quote(pool, safe='')}/queues/filter"
        queues = self.ask("POST", path, {"limit": 200}).json()
        return sorted(str(queue["name"]) for queue in queues) if isinstance(queues, list) else []  # pyright: ignore

    def make_queues(self, pool: str, names: list[str]) -> None:
        """Create the queues that a pool does not have yet: a poll for a missing one fails.

        Raises:
            AttachError: The server did not answer, or refused.
        """
        for name in names:
            answer = self.ask("POST", f"/work_pools/{quote(pool, safe='')}/queues", {"name": name})
            if answer.status not in {201, 409}:
                raise AttachError(f"{self.url} answered {answer.status} when asked for the queue {name!r}")

    def worker(self, pool: str, name: str) -> dict[str, Any] | None:
        """Return the server's record of a worker; `None` if there is none.

        Raises:
            AttachError: The server did not answer, or refused.
        """
        path = f"/work_pools/{quote(pool, safe='')}/workers/filter"
        answer = self.ask("POST", path, {"workers": {}, "limit": 200})
        if answer.status == 404:  # the pool is gone, and its workers with it
            return None
        records = answer.json()
        if answer.status != 200 or not isinstance(records, list):
            raise AttachError(f"{self.url} answered {answer.status} when asked for the workers of {pool}")
        return next((record for record in records if record["name"] == name), None)  # pyright: ignore

    def tell_platform(self, pool: str, name: str, version: str) -> None:
        """Record a worker's release on the server, for the platform's next upgrade; on no other server.

        Raises:
            AttachError: The server did not answer.
        """
        variable = {
            "name": _variable(pool, name),
            "value": {"pool": pool, "worker": name, "platform": version},
            "tags": ["attached-worker"],
        }
        if self.platform() and self.ask("POST", "/variables/", variable).status == 409:
            self.ask("PATCH", f"/variables/name/{variable['name']}", {"value": variable["value"]})

    def forget_worker(self, pool: str, name: str) -> bool:
        """Delete the server's record of a worker; return whether there was one.

        Raises:
            AttachError: The server did not answer, or refused.
        """
        self.ask("DELETE", f"/variables/name/{_variable(pool, name)}")
        answer = self.ask("DELETE", f"/work_pools/{quote(pool, safe='')}/workers/{quote(name, safe='')}")
        if answer.status in {200, 204}:
            return True
        if answer.status == 404:
            return False
        option = "--api-key-file" if self.has_key else "--auth-string-file"
        hint = f"; its login has changed: give {option}" if answer.status in {401, 403} else ""
        raise AttachError(f"{self.url} answered {answer.status} when asked to forget worker {name}{hint}")


def _variable(pool: str, name: str) -> str:
    """Return the name of a worker's variable: a hash, since variables' names allow fewer characters."""
    return f"attached_worker_{hashlib.sha256(f'{pool}/{name}'.encode()).hexdigest()[:16]}"
