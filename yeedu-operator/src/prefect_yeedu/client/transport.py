"""One HTTP request and its response: timeouts, TLS, and errors that name what happened."""

from __future__ import annotations

import logging
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduConflict,
    YeeduError,
    YeeduNotFound,
    YeeduRateLimited,
    YeeduServerError,
    YeeduTransportError,
    YeeduUnexpectedAnswer,
)
from prefect_yeedu.failures import EXPIRED_CODE, EXPIRED_STATUSES
from prefect_yeedu.urls import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect_yeedu.client.tls import TLSSettings
    from prefect_yeedu.wire.redaction import Redactor

logger = logging.getLogger(__name__)

# Yeedu's own codes take precedence over the statuses they come with.
ERRORS_BY_CODE: dict[str, type[YeeduAPIError]] = {EXPIRED_CODE: YeeduAuthenticationError}
ERRORS_BY_STATUS: dict[int, type[YeeduAPIError]] = {
    401: YeeduAuthenticationError,
    403: YeeduAuthenticationError,
    404: YeeduNotFound,
    409: YeeduConflict,
    429: YeeduRateLimited,
    440: YeeduAuthenticationError,
}
MIN_COOKIE_CHARACTERS = 12  # shorter ones, such as a language, identify nobody
MAX_ERROR_CHARACTERS = 500
# What the versions of OpenSSL call an answer in plain HTTP.
NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


@dataclass(frozen=True)
class Timeouts:
    """Time limits of one request, in seconds.

    Attributes:
        connect_seconds: Until the connection is established.
        read_seconds: Until the next piece of the answer arrives.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 60.0


class RequestOptions(TypedDict, total=False):
    """Optional parts of a request; what is left out keeps its default.

    Attributes:
        params: The query.
        json: The body.
        headers: Additional headers.
        is_streamed: Whether the caller reads the body piece by piece, and closes the response.
        read_seconds: Time limit of the answer, instead of the client's.
    """

    params: Mapping[str, object] | None
    json: object
    headers: Mapping[str, str] | None
    is_streamed: bool
    read_seconds: float | None


class _SharedContextAdapter(HTTPAdapter):
    """Makes all connections with one TLS context, built from the settings."""

    def __init__(self, tls: TLSSettings) -> None:
        self._context = tls.context()
        super().__init__(pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)  # pyright: ignore[reportUnknownMemberType]

    def proxy_manager_for(self, proxy: Any, **proxy_kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **proxy_kwargs, ssl_context=self._context)


class _TokenAuth(AuthBase):
    """Sets the token, if any; without this class `requests` would take a password from `~/.netrc`."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Transport:
    """Sends requests to one Yeedu; may be used by several threads.

    Attributes:
        seconds_ahead: How far the server's clock was ahead of this machine's in its last answer.

    Args:
        base_url: Base of the REST API, such as `https://yeedu.example:8080/api/v1`.
        tls: How certificates are checked.
        timeouts: Time limits of each request.
        redactor: Knows the secrets that must not appear in messages.
    """

    def __init__(self, base_url: str, *, tls: TLSSettings, timeouts: Timeouts, redactor: Redactor) -> None:
        self.base_url = base_url
        self._tls = tls
        self._timeouts = timeouts
        self._redactor = redactor
        self.seconds_ahead = 0.0
        self._session = requests.Session()
        is_encrypted = base_url.startswith("https:")
        adapter = _SharedContextAdapter(tls) if is_encrypted else HTTPAdapter(pool_maxsize=16)
        self._session.mount(base_url, adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(
        self, method: str, path: str, *, token: str | None = None, **options: Unpack[RequestOptions]
    ) -> requests.Response:
        """Send one request and return its answer, whatever its status.

        Raises:
            YeeduTransportError: There was no answer.
        """
        started_at = time.monotonic()
        read_seconds = options.get("read_seconds") or self._timeouts.read_seconds
        try:
            response = self._session.request(
                method,
                f"{self.base_url}/{path}",
                params=cast("Any", options.get("params")),
                json=options.get("json"),
                headers={"Accept": "application/json", **(options.get("headers") or {})},
                auth=_TokenAuth(token),
                timeout=(self._timeouts.connect_seconds, read_seconds),
                verify=self._tls.ca_file or self._tls.verify,
                allow_redirects=False,  # a redirected POST would become a GET, and take the token along
                stream=options.get("is_streamed", False),
            )
        except (requests.RequestException, OSError) as error:
            failure = self.failure_of(error, read_seconds)
        else:
            logger.debug(
                "%s %s -> %d in %.3f s", method, path, response.status_code, time.monotonic() - started_at
            )
            self._compare_clocks(response.headers.get("Date"))
            for cookie in response.cookies:
                if len(cookie.value or "") >= MIN_COOKIE_CHARACTERS:
                    self._redactor.add(cookie.value)
            return response
        # Raised outside of the handler, as the library's exception holds the address and perhaps a token.
        logger.debug("%s %s failed: %s", method, path, failure)
        raise failure

    def _compare_clocks(self, date: str | None) -> None:
        try:
            self.seconds_ahead = parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0
        except (ValueError, OverflowError):
            self.seconds_ahead = 0.0

    def failure_of(self, error: Exception, read_seconds: float | None = None) -> YeeduError:
        """Return the error for a request without an answer, or with one that broke off."""
        where = self.base_url.removesuffix("/api/v1")
        cause = _innermost(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return YeeduConfigurationError(
                f"The TLS certificate of {where} is not trusted or not valid ({_text(cause)}); "
                "name its CA's file in SSL_CERT_FILE (on the platform: CA_CERT_FILE in .env), or set "
                "YEEDU_VERIFY_SSL to false for a test system."
            )
        if isinstance(cause, ssl.SSLError) and any(words in str(cause) for words in NOT_TLS):
            return YeeduConfigurationError(
                f"{where} does not speak TLS at this port; write http://, or the port that does."
            )
        if isinstance(error, requests.exceptions.ReadTimeout):
            limit = read_seconds or self._timeouts.read_seconds
            return YeeduTransportError(f"Yeedu at {where} did not answer within {limit:g} seconds.")
        was_sent = not _is_connection_failure(error)
        reason = self._redactor.scrub(_text(cause))
        is_assumed = where.endswith(f":{DEFAULT_PORT}")
        port = f"port ({DEFAULT_PORT} where an address names none)" if is_assumed else "port"
        return YeeduTransportError(
            f"Yeedu at {where} cannot be reached ({reason}); check the host, the {port} and the network."
            if not was_sent
            else f"The connection to Yeedu at {where} broke before the answer came ({reason}).",
            was_sent=was_sent,
        )

    def error_of(self, response: requests.Response, what: str) -> YeeduAPIError:
        """Return the error that an answer stands for.

        Args:
            response: An answer whose status was not accepted.
            what: What was asked, such as `to submit job 5`.
        """
        body = _json_object(response)
        values = body or {}
        code = code if isinstance(code := values.get("error_code"), str) else None
        status = response.status_code
        # Yeedu itself gives no code for an absent or unknown token (yeedu-protocol section 2.2).
        is_from_yeedu = code is not None or (body is not None and status in EXPIRED_STATUSES)
        text = next(
            (value for key in ("error_message", "message", "error") if (value := values.get(key))), ""
        )
        detail = self._redactor.scrub(_one_line(str(text)))[:MAX_ERROR_CHARACTERS]
        kind = ERRORS_BY_CODE.get(code or "") or ERRORS_BY_STATUS.get(status)
        if status >= 500:
            kind = YeeduServerError
        elif status != 429 and not is_from_yeedu:
            kind = YeeduUnexpectedAnswer
        message = f"Yeedu at {self.base_url.removesuffix('/api/v1')} answered {status} when asked {what}"
        if 300 <= status < 400:
            message += " (a redirect; paste the address it leads to, with the port of the REST API)"
        elif kind is YeeduUnexpectedAnswer:
            message += " (not in Yeedu's own words: a proxy's answer, or not the port of the REST API)"
        return (kind or YeeduAPIError)(
            f"{message}: {detail}" if detail else f"{message}.",
            status=status,
            code=code,
            retry_after_seconds=_retry_after_seconds(response.headers.get("Retry-After")),
            is_from_yeedu=is_from_yeedu,
        )


def _json_object(response: requests.Response) -> dict[str, object] | None:
    try:
        body: object = response.json()
    except (ValueError, RecursionError, requests.RequestException):
        return None
    return cast("dict[str, object]", body) if isinstance(body, dict) else None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_connection_failure(error: Exception) -> bool:
    """Return whether the request was never sent: there was no connection, or no TLS session."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    frames = walk_tb(_innermost(error).__traceback__)
    if any(frame.f_code.co_name == "do_handshake" for frame, _ in frames):
        return True  # the library raises the same exception for a handshake and for a connection in use
    if not isinstance(error, requests.exceptions.ConnectionError):
        # The library refuses to send what it cannot encode, so nothing was sent either.
        return isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader)
    text = repr(error.args)
    return "NewConnectionError" in text or "NameResolutionError" in text or "ConnectTimeoutError" in text


def _innermost(error: BaseException) -> BaseException:
    """Return the innermost reason of an exception."""
    for _ in range(10):
        reason: object = getattr(error, "reason", None)
        inner = next((a for a in (reason, *error.args) if isinstance(a, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error


def _text(cause: BaseException) -> str:
    """Return an exception's text in a few words, without the address that outer ones repeat."""
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return _one_line(str(cause)).rpartition(": ")[2][:200] or type(cause).__name__


def _retry_after_seconds(value: str | None) -> float | None:
    """Return what a `Retry-After` header asks for: a number of seconds, or a date."""
    try:
        return max(0.0, Retry().parse_retry_after(value)) if value else None
    except (InvalidHeader, ValueError, OverflowError):
        return None
