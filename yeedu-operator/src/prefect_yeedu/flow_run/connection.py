"""Resolves the names of blocks to credentials and connection settings."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import httpx
from prefect.blocks.system import Secret
from prefect.variables import Variable

from prefect_yeedu.client.connection import Connection
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.errors import YeeduConfigurationError, YeeduPrefectError, YeeduPrefectUnavailable
from prefect_yeedu.flow_run.prefect_server import FAILURES

if TYPE_CHECKING:
    from prefect_yeedu.urls import YeeduURL

logger = logging.getLogger(__name__)

Details = dict[str, Any]
TOKEN_KEY = "token_block_name"  # noqa: S105 - a key of the connection details, not a token
# The blocks that the platform's deployer writes, and the settings in .env that it writes them from.
_SETTINGS_OF_BLOCKS = {"yeedu-token": "YEEDU_TOKEN", "yeedu-password": "YEEDU_USERNAME and YEEDU_PASSWORD"}
# Where to store a token for which no block is named yet.
_PLACE_OF_A_TOKEN = (
    f"a Secret block whose name you give as {TOKEN_KEY}, or write under that key into the connection "
    "details' JSON; on the platform, set YEEDU_TOKEN in .env, which does both"
)


@dataclass(frozen=True)
class Access:
    """The login and the TLS settings of a connection.

    Attributes:
        credentials: The login; None if none is needed.
        tls: How certificates are checked.
        note: What to log about the way of logging in, if there was a choice; else empty.
        blocks: The blocks that hold the login, each after its parameter, such as `token_block_name`.
    """

    credentials: Credentials | None = None
    tls: TLSSettings = field(default_factory=TLSSettings)
    note: str = ""
    blocks: tuple[tuple[str, str], ...] = ()

    def to(self, url: YeeduURL) -> Connection:
        """Return the connection to the Yeedu that an address names."""
        return Connection.to(url, self.credentials, self.tls)


def block_name(name: str) -> str:
    """Return the name under which Prefect stores a block; users' guides write underscores for dashes."""
    return name.strip().lower().replace("_", "-")


def load_connection(
    connection_block_name: str | None,
    login_password_block_name: str | None = None,
    token_block_name: str | None = None,
    *,
    needs_login: bool = True,
) -> Access:
    """Return the login and TLS settings that blocks describe.

    Args:
        connection_block_name: A Secret block or a Variable that holds JSON with `username`,
            `YEEDU_VERIFY_SSL` (default true), `YEEDU_SSL_CERT_FILE` and, for single sign-on,
            `token_block_name`; with a token it may be left out.
        login_password_block_name: A Secret block that holds the password; not needed with a token.
        token_block_name: A Secret block that holds a token, used instead of the password; it takes precedence
            over the one that the connection details name.
        needs_login: Whether a login is needed; a health check needs only the TLS settings.

    Raises:
        YeeduConfigurationError: Something is missing or invalid; the text names it.
    """
    with ThreadPoolExecutor(1) as pool:  # reads the secret while the details are read
        token = password = None
        if needs_login and token_block_name:
            token = pool.submit(copy_context().run, load_token, token_block_name)
        elif needs_login and login_password_block_name:
            password = pool.submit(copy_context().run, load_password, login_password_block_name)
        details = load_details(connection_block_name) if connection_block_name else {}
    tls = TLSSettings.from_options(details.get("YEEDU_VERIFY_SSL"), details.get("YEEDU_SSL_CERT_FILE"))
    if not needs_login:
        return Access(tls=tls)
    named = token_block_name or _named_token_block(details, connection_block_name)
    if named:
        block = block_name(named)
        credentials = Credentials(
            token=token.result() if token else load_token(named),
            kept_in=_place_of(block),
        )
        note = f"Logging in to Yeedu with the token in the block '{block}', not with a password."
        blocks = (("connection_block_name", connection_block_name or ""), (TOKEN_KEY, named))
        return Access(credentials, tls, note if login_password_block_name else "", blocks)
    username: object = details.get("username")
    if not isinstance(username, str) or not username.strip():
        raise YeeduConfigurationError(
            f"'username' is missing in the connection details '{connection_block_name or ''}'; add it, "
            f"or give {TOKEN_KEY}."
        )
    if password is None:
        raise YeeduConfigurationError(
            f"Neither login_password_block_name nor {TOKEN_KEY} is given; one of them is needed, "
            f"or the key {TOKEN_KEY} in the connection details."
        )
    blocks = (
        ("connection_block_name", connection_block_name or ""),
        ("login_password_block_name", login_password_block_name or ""),
    )
    place = _place_of(block_name(login_password_block_name or ""))
    credentials = Credentials(
        username.strip(),
        password.result(),
        kept_in=_PLACE_OF_A_TOKEN,
        login_kept_in=f"'username' in the connection details '{connection_block_name}', or the password "
        f"in {place}",
    )
    return Access(credentials, tls, blocks=blocks)


def _place_of(block: str) -> str:
    """Return where a user changes what a Secret block holds, for messages."""
    settings = _SETTINGS_OF_BLOCKS.get(block)
    return f"the Secret block '{block}'" + (f" ({settings} in the platform's .env)" if settings else "")


def _named_token_block(details: Details, connection_block_name: str | None) -> str:
    """Return the token's block that the connection details name; empty if they name none."""
    name: object = details.get(TOKEN_KEY) or ""
    if not isinstance(name, str):
        raise YeeduConfigurationError(
            f"'{TOKEN_KEY}' in the connection details '{connection_block_name}' is not the name of a block; "
            "correct it, or take it out to log in with a password."
        )
    return name.strip()


def load_details(name: str) -> Details:
    """Return the connection details held by a Secret block or a Variable of that name.

    Raises:
        YeeduConfigurationError: There is neither, or it holds something other than a JSON object.
    """
    value = _load_secret(name)
    if value is None:
        value = _load_variable(name)
    if value is None:
        raise YeeduConfigurationError(
            f"There is no Secret block '{block_name(name)}' and no Variable '{name}' on the Prefect server; "
            'create the block with a JSON value such as {"username": "me", "YEEDU_VERIFY_SSL": "true"}.'
        )
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None  # reported below, without the text, which is a secret
    if not isinstance(value, dict):
        raise YeeduConfigurationError(
            f"The connection details '{block_name(name)}' are not a JSON object such as "
            '{"username": "me", "YEEDU_VERIFY_SSL": "true"}; the block of a token is to be given as '
            f"{TOKEN_KEY}, that of a password as login_password_block_name."
        )
    return cast("Details", value)


def load_password(name: str) -> str:
    """Return the password in a Secret block, without a line break at its end.

    Raises:
        YeeduConfigurationError: There is no such block, or it holds no text.
    """
    return _load_text(name, "the password").removesuffix("\n").removesuffix("\r")


def load_token(name: str) -> str:
    """Return the token in a Secret block.

    Raises:
        YeeduConfigurationError: There is no such block, or it holds no text.
    """
    return _load_text(
        name,
        "a token (Yeedu shows one after single sign-on, or makes one: POST /api/v1/user/token)",
        ", or set YEEDU_TOKEN in the platform's .env" if block_name(name) == "yeedu-token" else "",
    ).strip()


def _load_text(name: str, what: str, otherwise: str = "") -> str:
    value = _load_secret(name)
    if value is None:
        raise YeeduConfigurationError(
            f"There is no Secret block '{block_name(name)}' on the Prefect server; "
            f"create it with {what} as value{otherwise}."
        )
    # Python code may have stored a number.
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not text.strip():
        raise YeeduConfigurationError(
            f"The Secret block '{block_name(name)}' holds no text; store {what} in it{otherwise}."
        )
    return text


def _load_secret(name: str) -> object | None:
    """Return the unparsed value of a Secret block, or None if there is no such block.

    `Secret.get` parses JSON where it can, so that a password of digits would come back as a number.
    """
    try:
        block = cast("Secret[Any]", Secret.load(block_name(name), _sync=True))  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
    except ValueError as error:
        # Prefect reports an absent block this way; one that cannot be read is a failure.
        if "Unable to find block document" in str(error):
            return None
        failure = _unreadable(f"The Secret block '{block_name(name)}'", error)
    except FAILURES as error:
        failure = _unreadable(f"The Secret block '{block_name(name)}'", error)
    else:
        return cast("object", block.value.get_secret_value())
    raise failure  # without the cause, whose text may show the block's value


def _load_variable(name: str) -> object | None:
    try:
        for candidate in dict.fromkeys((name, name.replace("-", "_"), name.replace("_", "-"))):
            value = cast("object", Variable.get(candidate, _sync=True))  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
            if value is not None:
                return value
    except FAILURES as error:
        failure = _unreadable(f"The Variable '{name}'", error)
    else:
        return None
    raise failure


def _unreadable(what: str, error: Exception) -> YeeduPrefectError:
    """Return the error for a block or Variable that cannot be read; only an outage is retryable."""
    kind = YeeduPrefectUnavailable if isinstance(error, httpx.TransportError) else YeeduPrefectError
    return kind(
        f"{what} cannot be read from the Prefect server ({type(error).__name__}); "
        "check PREFECT_API_URL and that the server is up."
    )
