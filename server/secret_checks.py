"""Validates configured secrets and the settings that belong to them."""

import base64
import binascii
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

MIN, MIN_DIFFERENT = 12, 5  # characters of the API's password


class SecretError(Exception):
    """A configured secret cannot be used; the message says which and what to do."""


def check_fernet_key(value: str) -> None:
    """Refuse a key with which Prefect cannot encrypt blocks.

    Raises:
        SecretError: It is not a Fernet key.
    """
    try:
        length = len(base64.urlsafe_b64decode(value))
    except (binascii.Error, ValueError):
        length = 0
    if length != 32:
        raise SecretError(
            "PREFECT_SERVER_ENCRYPTION_KEY is not a Fernet key (32 bytes, URL-safe base64); make one with: "
            "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
        )


def check_auth_string(value: str) -> None:
    """Refuse a login that Prefect cannot compare; raise `SecretError`."""
    user, colon, password = value.partition(":")
    if not (user and colon and password):
        raise SecretError("PREFECT_API_AUTH_STRING must have the form user:password")
    if not value.isascii():  # with any other, Prefect answers 500 to everybody
        raise SecretError("PREFECT_API_AUTH_STRING may hold ASCII characters only")


def check_api_key(value: str) -> None:
    """Refuse what is not an API key; raise `SecretError`."""
    if not value.isascii() or any(character.isspace() for character in value):
        raise SecretError("PREFECT_API_KEY is not an API key, which is one word of ASCII characters")


def check_ssh_key(value: str) -> None:
    """Refuse what is not a private key; raise `SecretError`."""
    if "PRIVATE KEY-----" not in value:
        raise SecretError(
            "FLOWS_GIT_SSH_KEY_FILE holds no private key (-----BEGIN OPENSSH PRIVATE KEY-----); "
            "make one with: ssh-keygen -t ed25519 -N '' -f FILE"
        )


def check_database(settings: Sequence[str], *, is_own: bool) -> None:
    """Refuse names of settings for another database that the platform would not follow.

    Raises:
        SecretError: One of them is the connection URL, or the platform brings its own database.
    """
    for name in settings:
        if name.endswith("_CONNECTION_URL") or not is_own:
            raise SecretError(
                f"{name} is not supported; for your own Postgres set PREFECT_SERVER_DATABASE_HOST and "
                "COMPOSE_FILE=docker-compose.yaml:deploy/own-database.yaml (docs/own-database.md)"
            )


def check_one_login(auth_string: str, api_key: str) -> None:
    """Refuse two ways to log in at once: Prefect's client would silently ignore the key.

    Raises:
        SecretError: Both a login and a key are configured.
    """
    if auth_string and api_key:
        raise SecretError("PREFECT_API_AUTH_STRING and PREFECT_API_KEY are both set; remove one of them")


def check_own_server(address: str, auth_string: str, ui_url: str) -> None:
    """Refuse to publish the API without a login, with a weak one, or at an address where the UI fails.

    Raises:
        SecretError: One of these is the case; the message says what to set.
    """
    try:
        is_loopback = ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        raise SecretError(f"PREFECT_BIND_ADDRESS={address!r} is not an IP address") from None
    if not is_loopback and not auth_string:
        raise SecretError(
            f"PREFECT_BIND_ADDRESS={address} opens the API to other machines, so it needs a login: "
            f"set PREFECT_API_AUTH_STRING=user:password in .env"
        )
    user, _, password = auth_string.partition(":")
    own = password.replace(user, "") if user else password
    if auth_string and (len(own) < MIN or len(set(own)) < MIN_DIFFERENT):
        raise SecretError(
            f"the password in PREFECT_API_AUTH_STRING is easy to guess; it needs {MIN} characters beside "
            f"the user's name, {MIN_DIFFERENT} of them different; this makes a good one: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(16))'"
        )
    try:
        url = urlsplit(ui_url)
        is_address = url.scheme in {"http", "https"} and bool(url.hostname)
    except ValueError:
        url, is_address = urlsplit(""), False
    if not is_address:
        raise SecretError(f"PREFECT_UI_URL={ui_url} is not an address like https://prefect.example.com")
    if url.path.strip("/") or url.query or url.fragment:
        raise SecretError(
            f"PREFECT_UI_URL={ui_url} is below a path, where the UI does not work; give it a host name of "
            f"its own, as in {url.scheme}://prefect.example.com"
        )
