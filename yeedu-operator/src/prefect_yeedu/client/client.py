"""The REST client: a session with one Yeedu, calls that are repeated only where that is safe."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

from prefect_yeedu.client.login import Credentials, LoginSession, means_expired
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.client.transport import Timeouts, Transport
from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduError,
    YeeduUnhealthy,
)
from prefect_yeedu.wire.answers import JsonObject, read_object
from prefect_yeedu.wire.redaction import Redactor
from prefect_yeedu.wire.retry import Clock, RetryPolicy, SystemClock, retry_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import requests

    from prefect_yeedu.urls import YeeduURL

logger = logging.getLogger(__name__)


class YeeduClient:
    """Calls one Yeedu as one user in one tenant; may be used by several threads.

    Args:
        url: Any address of that Yeedu; its tenant is the one that is selected.
        credentials: Who calls; None where only the health check is called.
        tls: How certificates are checked.
        timeouts: Time limits of each request.
        retry_policy: How often and how soon failed calls are repeated.
        clock: Where time comes from.
    """

    def __init__(
        self,
        url: YeeduURL,
        credentials: Credentials | None = None,
        *,
        tls: TLSSettings | None = None,
        timeouts: Timeouts | None = None,
        retry_policy: RetryPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.url = url
        self.tls = tls or TLSSettings()
        self.clock = clock or SystemClock()
        self.redactor = Redactor()
        self._credentials = credentials
        self._retry_policy = retry_policy or RetryPolicy()
        self._transport = Transport(
            url.base_url, tls=self.tls, timeouts=timeouts or Timeouts(), redactor=self.redactor
        )
        self._session = (
            LoginSession(credentials, url.tenant, self.redactor, self._send_for_login)
            if credentials is not None
            else None
        )
        if not self.tls.verify and url.scheme == "https":
            logger.warning(
                "The TLS certificate of %s is not checked (YEEDU_VERIFY_SSL is false).", url.origin
            )

    @property
    def username(self) -> str | None:
        """Who calls, where that is known."""
        return self._credentials.username if self._credentials is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Log out, when this client logged in, and close the connections."""
        if self._session is not None:
            self._session.close()
        self._transport.close()

    def log_in(self) -> None:
        """Make sure that there is a session; calls do this by themselves."""
        self.token()

    def token(self, *, instead_of: str | None = None) -> str:
        """Return the session's token, for the kernel's websocket.

        Args:
            instead_of: A token that was just refused.
        """
        if self._session is None:
            raise YeeduConfigurationError("This call needs a login, but no credentials were given.")
        return self._session.token(instead_of=instead_of)

    def get(
        self, path: str, what: str, *, params: Mapping[str, object] | None = None, attempts: int | None = None
    ) -> requests.Response:
        """Read something; repeated on failures that may pass.

        Args:
            path: Below the base of the API.
            what: What is asked, such as `about run 7`, for messages.
            params: The query.
            attempts: Calls in total, instead of the policy's.
        """
        return self.call("GET", path, what, params=params, attempts=attempts)

    def get_object(self, path: str, what: str, *, params: Mapping[str, object] | None = None) -> JsonObject:
        """Read a JSON object; repeated on failures that may pass."""
        return read_object(self.get(path, what, params=params), path)

    def call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        params: Mapping[str, object] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
        is_streamed: bool = False,
        accepted: frozenset[int] = frozenset({200, 201}),
        attempts: int | None = None,
    ) -> requests.Response:
        """Make a call with the session's token, logging in again once when the session has expired.

        Args:
            method: The HTTP method.
            path: Below the base of the API.
            what: What is asked, for messages.
            params: The query.
            json: The body.
            headers: Further headers.
            is_repeatable: Whether making the call twice does no harm.
            is_streamed: Whether the caller reads the body piece by piece, and closes the response.
            accepted: Statuses that are an answer.
            attempts: Calls in total, instead of the policy's.

        Raises:
            YeeduTransportError: There was no answer.
            YeeduAPIError: The answer has another status.
        """

        def once(token: str | None) -> requests.Response:
            response = self._transport.send(
                method, path, token=token, params=params, json=json, headers=headers, is_streamed=is_streamed
            )
            return self._checked(response, what, accepted)

        def with_login() -> requests.Response:
            token = self.token()
            try:
                return once(token)
            except YeeduAuthenticationError as error:
                if not means_expired(error):
                    raise
            return once(self.token(instead_of=token))

        return self._repeat(with_login, what, is_repeatable=is_repeatable, attempts=attempts)

    def broken_answer(self, error: Exception) -> YeeduError:
        """Return the error for a streamed answer that broke off."""
        return self._transport.broken_answer(error)

    def check_health(self) -> JsonObject:
        """Return what the health check answers; no login is needed.

        Raises:
            YeeduUnhealthy: It answered with another status than 200.
            YeeduTransportError: It did not answer.
        """
        what = "whether it is healthy"

        def once() -> requests.Response:
            return self._checked(self._transport.send("GET", "healthCheck"), what, frozenset({200}))

        try:
            return read_object(self._repeat(once, what, is_repeatable=True, attempts=3), "healthCheck")
        except YeeduAPIError as error:
            raise YeeduUnhealthy(
                f"Yeedu is not healthy: {error}", status=error.status, code=error.code
            ) from None

    def _send_for_login(
        self, method: str, path: str, token: str | None, json: object, what: str
    ) -> requests.Response:
        def once() -> requests.Response:
            response = self._transport.send(method, path, token=token, json=json)
            return self._checked(response, what, frozenset({200, 201}))

        return self._repeat(once, what, is_repeatable=True, attempts=2 if path == "logout" else None)

    def _checked(self, response: requests.Response, what: str, accepted: frozenset[int]) -> requests.Response:
        if response.status_code in accepted:
            return response
        try:
            raise self._transport.error_of(response, what)
        finally:
            response.close()

    def _repeat(
        self,
        once: Callable[[], requests.Response],
        what: str,
        *,
        is_repeatable: bool,
        attempts: int | None,
    ) -> requests.Response:
        allowed = attempts if attempts is not None else self._retry_policy.attempts
        for failures in range(1, allowed + 1):
            try:
                return once()
            except YeeduError as error:
                reason = retry_reason(error, is_repeatable=is_repeatable)
                if reason is None or failures == allowed:
                    raise
                wait_seconds = self._retry_policy.wait_seconds(failures, error)
            logger.info("Asking Yeedu %s again in %.1f s: %s.", what, wait_seconds, reason)
            self.clock.sleep(wait_seconds)
        raise AssertionError("a policy allows at least one attempt")
