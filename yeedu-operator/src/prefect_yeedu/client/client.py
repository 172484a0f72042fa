"""The REST client: a session with one Yeedu, and the only place where a call is retried."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from prefect_yeedu.client.definitions import Definitions
from prefect_yeedu.client.login import LoginSession
from prefect_yeedu.client.transport import Timeouts, Transport
from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduError,
    YeeduUnhealthy,
)
from prefect_yeedu.failures import Failure, classify, may_have_acted
from prefect_yeedu.models import RunKind
from prefect_yeedu.retry_policy import RetryPolicy, SystemClock
from prefect_yeedu.wire.redaction import Redactor
from prefect_yeedu.wire.responses import JsonObject, read_object

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import requests

    from prefect_yeedu.client.connection import Connection
    from prefect_yeedu.client.transport import RequestOptions
    from prefect_yeedu.retry_policy import Clock

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

ANSWERED = frozenset({200, 201})
# A login keeps other threads waiting, a logout the end of the process.
LOGIN_READ_SECONDS, LOGOUT_READ_SECONDS = 30.0, 5.0


class YeeduClient:
    """Calls one Yeedu as one user in one tenant; for any number of runs, from any thread.

    Args:
        connection: The Yeedu, the tenant and the login.
        timeouts: Time limits of each request.
        retries: The retry policy of calls that are given none.
        clock: The clock of calls that are given none.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.connection = connection
        self.clock = clock or SystemClock()
        self.redactor = Redactor()
        self._retries = retries or RetryPolicy()
        self._transport = Transport(
            connection.base_url, tls=connection.tls, timeouts=timeouts or Timeouts(), redactor=self.redactor
        )
        self._session: LoginSession | None = None
        if who := connection.credentials:
            self._session = LoginSession(who, connection.tenant, self.redactor, self._send_for_login)
        if not connection.tls.verify and connection.base_url.startswith("https:"):
            logger.warning("The TLS certificate of %s is not checked (YEEDU_VERIFY_SSL).", connection.origin)

    @property
    def username(self) -> str | None:
        """The user name that the connection logs in with; None with a token."""
        credentials = self.connection.credentials
        return credentials.username if credentials is not None else None

    @property
    def seconds_ahead(self) -> float:
        """How far the server's clock is ahead of this machine's, to the second, by its last answer."""
        return self._transport.seconds_ahead

    @property
    def jobs(self) -> Definitions:
        """The tenant's jobs, on a server of the latest API generation."""
        return Definitions(self, RunKind.JOB)

    @property
    def notebooks(self) -> Definitions:
        """The tenant's notebooks, on a server of the latest API generation."""
        return Definitions(self, RunKind.NOTEBOOK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Log out, if this client logged in, and close the connections."""
        if self._session is not None:
            self._session.close()
        self._transport.close()

    def log_in(self) -> None:
        """Log in unless there is a session; calls do this by themselves."""
        self.token()

    def token(self, *, instead_of: str | None = None) -> str:
        """Return the session's token, for the kernel's websocket.

        Args:
            instead_of: A token that was just refused.
        """
        trial = self._retries.start(self.clock)
        while True:
            try:
                return self._token(instead_of)
            except YeeduError as error:
                trial.wait(error, "to log in")

    def get_object(
        self,
        path: str,
        what: str,
        *,
        retries: RetryPolicy | None = None,
        clock: Clock | None = None,
        **options: Unpack[RequestOptions],
    ) -> JsonObject:
        """Read a JSON object; repeat the call after transient failures, such as an answer that is not one."""
        return self._repeat(
            lambda: read_object(self._once("GET", path, what, **options), path),
            what,
            retries=retries,
            clock=clock,
        )

    def call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        accepted: frozenset[int] = ANSWERED,
        is_repeatable: bool = True,
        retries: RetryPolicy | None = None,
        clock: Clock | None = None,
        **options: Unpack[RequestOptions],
    ) -> requests.Response:
        """Make a call with the session's token, logging in again once when the session has expired.

        Args:
            method: The HTTP method.
            path: Below the base of the API.
            what: What is asked, such as `about run 7`, for messages.
            accepted: Statuses that count as success.
            is_repeatable: Whether the call can safely be made twice; if not, it is repeated only after
                failures that show that Yeedu did not act.
            retries: The retry policy, instead of the client's.
            clock: The clock for the waits between calls, instead of the client's.
            options: What the request carries.

        Raises:
            YeeduTransportError: There was no answer.
            YeeduAPIError: The answer has any other status.
        """
        return self._repeat(
            lambda: self._once(method, path, what, accepted, **options),
            what,
            is_repeatable=is_repeatable,
            retries=retries,
            clock=clock,
        )

    def broken_answer(self, error: Exception) -> YeeduError:
        """Return the error for a streamed answer that broke off."""
        return self._transport.failure_of(error)

    def check_health(self) -> JsonObject:
        """Return the answer of the health check, which needs no login.

        Raises:
            YeeduUnhealthy: It answered with a status other than 200.
            YeeduTransportError: It did not answer.
        """
        path, what = "healthCheck", "whether it is healthy"

        def once() -> JsonObject:
            return read_object(self._checked(self._transport.send("GET", path), what, ANSWERED), path)

        try:
            return self._repeat(once, what, retries=RetryPolicy(attempts=3))
        except YeeduAPIError as error:
            raise YeeduUnhealthy(
                f"Yeedu is not healthy: {error}", status=error.status, code=error.code
            ) from None

    def _token(self, instead_of: str | None = None) -> str:
        if self._session is None:
            raise YeeduConfigurationError("This call needs a login, but no credentials were given.")
        return self._session.token(instead_of=instead_of)

    def _once(
        self,
        method: str,
        path: str,
        what: str,
        accepted: frozenset[int] = ANSWERED,
        **options: Unpack[RequestOptions],
    ) -> requests.Response:
        """Make a call, and once more with a new token if Yeedu does not know the current one."""

        def send(token: str) -> requests.Response:
            return self._checked(self._transport.send(method, path, token=token, **options), what, accepted)

        token = self._login_token()
        try:
            return send(token)
        except YeeduAuthenticationError as error:
            if classify(error) is not Failure.EXPIRED:
                raise
        return send(self._login_token(token))

    def _login_token(self, instead_of: str | None = None) -> str:
        """Return the token for a call; the error of a failed login says that the call was not made."""
        try:
            return self._token(instead_of)
        except YeeduError as error:
            error.is_before_call = True
            raise

    def _send_for_login(
        self, method: str, path: str, token: str | None, json: object, what: str
    ) -> requests.Response:
        limit = LOGOUT_READ_SECONDS if path == "logout" else LOGIN_READ_SECONDS
        response = self._transport.send(method, path, token=token, json=json, read_seconds=limit)
        return self._checked(response, what, ANSWERED)

    def _checked(self, response: requests.Response, what: str, accepted: frozenset[int]) -> requests.Response:
        if response.status_code in accepted:
            return response
        try:
            raise self._transport.error_of(response, what)
        finally:
            response.close()

    def _repeat(
        self,
        once: Callable[[], Answer],
        what: str,
        *,
        is_repeatable: bool = True,
        retries: RetryPolicy | None = None,
        clock: Clock | None = None,
    ) -> Answer:
        trial = (retries or self._retries).start(clock or self.clock)
        while True:
            try:
                return once()
            except YeeduError as error:
                if not is_repeatable and may_have_acted(error):
                    raise
                trial.wait(error, what)
