"""Find out who connects to Yeedu, and how: the names of blocks become credentials."""

from __future__ import annotations

import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectHTTPStatusError
from prefect.variables import Variable

from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.tls import TLSSettings
from prefect_yeedu.errors import YeeduConfigurationError

logger = logging.getLogger(__name__)

Details = dict[str, Any]


@dataclass(frozen=True)
class Connection:
    """Who connects, and whom they trust.

    Attributes:
        credentials: Who connects; None where nobody has to.
        tls: How certificates are checked.
    """

    credentials: Credentials | None = None
    tls: TLSSettings = field(default_factory=TLSSettings)


def block_name(name: str) -> str:
    """Return the name under which Prefect keeps a block: users' guides write underscores for dashes."""
    return name.strip().lower().replace("_", "-")


def load_connection(
    connection_block_name: str | None,
    login_password_block_name: str | None = None,
    token_block_name: str | None = None,
    *,
    needs_login: bool = True,
) -> Connection:
    """Return the connection that blocks describe.

    Args:
        connection_block_name: A Secret block or a Variable that holds JSON with `username`,
            `YEEDU_VERIFY_SSL` (default true) and `YEEDU_SSL_CERT_FILE`; with a token it may be left out.
        login_password_block_name: A Secret block that holds the password; not needed with a token.
        token_block_name: A Secret block that holds a token, which then is used instead of the password.
        needs_login: Whether somebody has to log in; a health check needs to know only whom to trust.

    Raises:
        YeeduConfigurationError: Something is missing or not as it should be; the text names it.
    """
    block, what = (
        (token_block_name, "the token") if token_block_name else (login_password_block_name, "the password")
    )
    secret: Future[str] | None = None
    with ThreadPoolExecutor(1) as pool:  # the secret is read while the details are
        if needs_login and block:
            secret = pool.submit(copy_context().run, load_secret_text, block, what)
        details = load_details(connection_block_name) if connection_block_name else {}
    tls = TLSSettings.from_options(details.get("YEEDU_VERIFY_SSL"), details.get("YEEDU_SSL_CERT_FILE"))
    if not needs_login:
        return Connection(tls=tls)
    if token_block_name and secret:
        return Connection(Credentials(token=secret.result()), tls)
    username: object = details.get("username")
    if not isinstance(username, str) or not username.strip():
        raise YeeduConfigurationError(
            f"'username' is missing in the connection details '{connection_block_name or ''}'; add it, "
            "or give token_block_name."
        )
    if secret is None:
        raise YeeduConfigurationError(
            "Neither login_password_block_name nor token_block_name is given; one of them is needed."
        )
    return Connection(Credentials(username=username.strip(), password=secret.result()), tls)


def load_details(name: str) -> Details:
    """Return the connection details held by a Secret block or a Variable of that name.

    Raises:
        YeeduConfigurationError: There is neither, or it holds something else than a JSON object.
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
            value = None  # said below, without the text: it is a secret
    if not isinstance(value, dict):
        raise YeeduConfigurationError(
            f"The connection details '{block_name(name)}' are not a JSON object; store one such as "
            '{"username": "me", "YEEDU_VERIFY_SSL": "true"}.'
        )
    return cast("Details", value)


def load_secret_text(name: str, what: str) -> str:
    """Return the text in a Secret block.

    Args:
        name: The block's name.
        what: What it holds, for the error's text.

    Raises:
        YeeduConfigurationError: There is no such block, or it holds no text.
    """
    value = _load_secret(name)
    if value is None:
        raise YeeduConfigurationError(
            f"There is no Secret block '{block_name(name)}' on the Prefect server; "
            f"create it with {what} as value."
        )
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise YeeduConfigurationError(
            f"The Secret block '{block_name(name)}' holds no text; store {what} in it."
        )
    return text


def _load_secret(name: str) -> object | None:
    """Return what a Secret block holds, or None when there is no such block."""
    try:
        block = cast("Secret[Any]", Secret.load(block_name(name), _sync=True))  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
    except ValueError as error:
        # Prefect reports an absent block so; a block that exists but cannot be read is another matter.
        if "Unable to find block document" in str(error):
            return None
        reason = type(error).__name__
    except (httpx.HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        reason = type(error).__name__
    else:
        return cast("object", block.get())
    raise YeeduConfigurationError(
        f"The Secret block '{block_name(name)}' cannot be read from the Prefect server ({reason}); "
        "check PREFECT_API_URL and that the server is up."
    )


def _load_variable(name: str) -> object | None:
    for candidate in dict.fromkeys((name, name.replace("-", "_"), name.replace("_", "-"))):
        value = cast("object", Variable.get(candidate, _sync=True))  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
        if value is not None:
            return value
    return None
