"""A login session with Yeedu: log in, select the tenant, log out."""

from __future__ import annotations

import copy
import logging
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduError,
)
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.wire.responses import read_object, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from prefect_yeedu.wire.redaction import Redactor

    # Sends one request: method, path, token, JSON body, what was asked.
    Send = Callable[[str, str, str | None, object, str], requests.Response]

logger = logging.getLogger(__name__)

PASSWORD_AUTH_TYPES = frozenset({"LDAP", "AAD"})
# Statuses of a server that lacks a call; an old one's framework answers in its own words.
NO_SUCH_CALL = frozenset({400, 404, 405})
# A session that is never logged out of, because the process was killed, expires after this time.
SESSION_LIFETIME = "24h"


@dataclass(frozen=True)
class Credentials:
    """A user name and password, or a token; the object's repr shows no secrets.

    Attributes:
        username: The user who logs in; not needed with a token.
        password: The user's password.
        token: A token made elsewhere (single sign-on, personal token), used instead of the password.
        kept_in: Where the user stores the token, or should store one, for messages.
        login_kept_in: Where the user stores the user name and password, for messages.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    kept_in: str = "the credentials"
    login_kept_in: str = "the credentials"

    def __post_init__(self) -> None:
        if not self.token and not (self.username and self.password):
            missing = "user name" if self.password else "password"
            raise YeeduConfigurationError(
                f"Yeedu needs a user name and a password, or a token, but the {missing} is missing; "
                "give the names of the blocks that hold them."
            )


class LoginSession:
    """One session with Yeedu, bound to a tenant; several threads may share it.

    Args:
        credentials: The user name and password, or the token.
        tenant: The tenant to select.
        redactor: Receives every secret of the session.
        send: Sends one request.
    """

    def __init__(self, credentials: Credentials, tenant: str, redactor: Redactor, send: Send) -> None:
        self._credentials = credentials
        self._tenant = tenant
        self._redactor = redactor
        self._send = send
        self._lock = threading.Lock()
        self._token: str | None = None
        self._unbound: str | None = None  # logged in, but without a tenant yet
        self._auth_type: str | None = None
        self._failure: YeeduError | None = None
        self._logins_ended = 0
        redactor.add(credentials.password)
        redactor.add(credentials.token)

    def token(self, *, instead_of: str | None = None) -> str:
        """Return a token that is bound to the tenant, logging in when there is none.

        Args:
            instead_of: A token that Yeedu has just refused; if another thread has replaced it already, the
                new one is returned without another login.

        Raises:
            YeeduAuthenticationError: Yeedu refuses the credentials.
        """
        ended = self._logins_ended
        with self._lock:
            if self._token is not None and self._token != instead_of:
                return self._token
            if self._failure is not None and self._logins_ended > ended:
                raise copy.copy(self._failure)  # from the login that this thread waited for
            if instead_of is not None and self._credentials.token:
                raise self._refused_token(401)
            if instead_of is not None:
                logger.info("The Yeedu session has expired; logging in again.")
            self._token = self._failure = None
            try:
                self._token = self._new_token()
            except YeeduError as error:
                self._failure = copy.copy(error)  # without the traceback and all that it holds
                raise
            finally:
                self._logins_ended += 1
            return self._token

    def close(self) -> None:
        """Log out of a session that this object opened; a given token stays valid."""
        with self._lock:
            token, self._token, self._unbound = self._token or self._unbound, None, None
        if token is None or self._credentials.token:
            return
        try:
            self._send("POST", "logout", token, None, "to log out")
        except YeeduError as error:
            logger.debug("The logout did not work, the session will expire by itself: %s", error)

    def _new_token(self) -> str:
        """Return a token that is bound to the tenant; first retry one that could not be bound before."""
        kept = self._unbound
        token = (kept or self._credentials.token or self._log_in()).strip()
        self._unbound = token
        self._redactor.add(token)
        try:
            self._select_tenant(token)
        except YeeduAuthenticationError as error:
            if classify(error) is not Failure.EXPIRED:
                raise
            failure = error
        else:
            self._unbound = None
            return token
        self._unbound = None
        if self._credentials.token:
            raise self._refused_token(failure.status)
        if kept is None:
            raise failure
        return self._new_token()

    def _log_in(self) -> str:
        self._auth_type = self._discover_auth_type()
        body = {"username": self._credentials.username, "password": self._credentials.password}
        if self._auth_type is not None:
            body |= {"auth_type": self._auth_type, "timeout": SESSION_LIFETIME}
        try:
            response = self._send("POST", "login", None, body, f"to log in {self._credentials.username}")
        except YeeduAuthenticationError as error:
            raise YeeduAuthenticationError(
                f"Yeedu refuses the user name '{self._credentials.username}' or its password ({error}); "
                f"correct {self._credentials.login_kept_in}.",
                status=error.status,
                code=error.code,
            ) from None
        answer = read_object(response, "login")
        token = text_of(answer, "token")
        if token:
            return token
        address = text_of(answer, "loginURL")
        if address:
            raise YeeduConfigurationError(
                f"This Yeedu uses single sign-on: open {address}, and store the token it shows in "
                f"{self._credentials.kept_in}."
            )
        raise YeeduAuthenticationError(
            "Yeedu answered the login without a token.", status=response.status_code
        )

    def _refused_token(self, status: int) -> YeeduAuthenticationError:
        """Return the error for a given token that Yeedu does not accept; it says how to get another one."""
        address = self._single_sign_on_address()
        way = f"open {address} for" if address else "ask Yeedu (POST /api/v1/user/token) for"
        return YeeduAuthenticationError(
            f"Yeedu does not accept the token (it has expired, was revoked, or is incomplete): {way} a new "
            f"one, and store it in {self._credentials.kept_in}.",
            status=status,
        )

    def _single_sign_on_address(self) -> str | None:
        """Return the page that shows a token, or None if there is none or Yeedu does not say."""
        try:
            auth_type = self._discover_auth_type()
            if auth_type is None or auth_type in PASSWORD_AUTH_TYPES:
                return None
            response = self._send("POST", "login", None, {"auth_type": auth_type}, "where users log in")
            return text_of(read_object(response, "login"), "loginURL")
        except YeeduError as error:
            logger.debug("Where users log in could not be found out: %s", error)
            return None

    def _discover_auth_type(self) -> str | None:
        """Return how users log in here, or None if the server is too old to say."""
        try:
            response = self._send("GET", "login/auth_type", None, None, "how users log in")
        except YeeduAPIError as error:
            if error.status not in NO_SUCH_CALL:
                raise
            return None
        return text_of(read_object(response, "login/auth_type"), "auth_type")

    def _select_tenant(self, token: str) -> None:
        path = f"user/select/{self._tenant}"
        try:
            self._send("POST", path, token, None, f"to select the tenant {self._tenant}")
        except YeeduAPIError as error:
            # The token's session has a tenant already; the check below finds out which.
            if error.status != HTTPStatus.CONFLICT and not self._is_already_selected(error):
                raise
        else:
            return
        self._check_tenant(token)

    def _is_already_selected(self, error: YeeduError) -> bool:
        text = str(error)
        return (
            f"Association to the tenant Id: {self._tenant}" in text
            and "is not allowed for the current session" in text
        )

    def _check_tenant(self, token: str) -> None:
        """Refuse a token whose session belongs to another tenant, where every id means something else."""
        try:
            answer = read_object(self._send("GET", "user/info", token, None, "who we are"), "user/info")
        except YeeduError as error:
            logger.debug("The session's tenant could not be checked: %s", error)
            return
        selected = text_of(answer, "tenant_id")
        if selected and selected.lower() != self._tenant.lower():
            raise YeeduConfigurationError(
                f"The token's session belongs to the tenant {selected}, not to {self._tenant} "
                "as the URL says; use another token."
            )
