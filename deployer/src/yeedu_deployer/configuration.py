"""What the environment tells the deployer: addresses, credentials, and files that hold secrets."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

from yeedu_deployer.errors import ConfigurationError

MAXIMUM_SECRET_BYTES = 64 * 1024
AUTH_STRING = "PREFECT_API_AUTH_STRING"
API_KEY = "PREFECT_API_KEY"


@dataclass(frozen=True)
class Configuration:
    """Everything that comes from the environment.

    Attributes:
        api_url: The Prefect API, for example `http://localhost:8080/api`.
        ui_url: Where people see the UI; links begin with it.
        username: The Yeedu user (`YEEDU_USERNAME`, default `demo`).
        verify_ssl: Whether Yeedu's certificate is checked (`YEEDU_VERIFY_SSL`, default true).
        ssl_cert_file: A CA file for it on the worker (`YEEDU_SSL_CERT_FILE`), or empty.
        password: The content of `YEEDU_PASSWORD_FILE`, or None when not configured.
        token: The content of `YEEDU_TOKEN_FILE`, or None when not configured.
        git_token: The content of `FLOWS_GIT_TOKEN_FILE`, or None when not configured.
        github_token: The content of `GITHUB_TOKEN_FILE`, for GitHub's API, or None when not configured.
        warehouse_url: The warehouse's address (`WAREHOUSE_URL`), without its password; empty for none.
        warehouse_password: The content of `WAREHOUSE_PASSWORD_FILE`, or None when not configured.
        auth_string: The login that Prefect's API asks for (`PREFECT_API_AUTH_STRING`), or None.
        api_key: The key that it asks for (`PREFECT_API_KEY`), or None; a login goes first.
        slack_webhook_url: Where alerts go in Slack (the content of `ALERT_SLACK_WEBHOOK_URL_FILE`), or None.
        webhook_url: Where alerts are posted as JSON (of `ALERT_WEBHOOK_URL_FILE`), or None.
        sendgrid_key: The key that alerts are mailed with (of `ALERT_SENDGRID_API_KEY_FILE`), or None.
        email_from: Who mails them (`ALERT_EMAIL_FROM`).
        email_to: Who gets them (`ALERT_EMAIL_TO`, separated by commas).
    """

    api_url: str
    ui_url: str
    username: str = "demo"
    verify_ssl: bool = True
    ssl_cert_file: str = ""
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    git_token: str | None = field(default=None, repr=False)
    github_token: str | None = field(default=None, repr=False)
    warehouse_url: str = ""
    warehouse_password: str | None = field(default=None, repr=False)
    auth_string: str | None = field(default=None, repr=False)
    slack_webhook_url: str | None = field(default=None, repr=False)
    webhook_url: str | None = field(default=None, repr=False)
    sendgrid_key: str | None = field(default=None, repr=False)
    email_from: str = ""
    email_to: tuple[str, ...] = ()
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Configuration":
        """Read and check every variable.

        Raises:
            ConfigurationError: A variable or a secret file is missing or wrong.
        """
        api_url = environment.get("PREFECT_API_URL", "").rstrip("/")
        if not api_url:
            raise ConfigurationError(
                "PREFECT_API_URL is not set; set it to the server's API, for example http://localhost:8080/api."
            )
        if urlsplit(api_url).scheme not in ("http", "https") or not urlsplit(api_url).hostname:
            raise ConfigurationError(
                f"PREFECT_API_URL is {api_url!r}, which is no http URL; it looks like http://localhost:8080/api."
            )
        verify = environment.get("YEEDU_VERIFY_SSL") or "true"
        if verify.lower() not in ("true", "false"):
            raise ConfigurationError(f"YEEDU_VERIFY_SSL must be true or false, but it is {verify!r}.")
        return cls(
            api_url=api_url,
            ui_url=(environment.get("PREFECT_UI_URL") or ui_url_of(api_url)).rstrip("/"),
            username=environment.get("YEEDU_USERNAME") or "demo",
            verify_ssl=verify.lower() == "true",
            ssl_cert_file=environment.get("YEEDU_SSL_CERT_FILE", ""),
            password=read_secret_file("YEEDU_PASSWORD_FILE", environment),
            token=read_secret_file("YEEDU_TOKEN_FILE", environment),
            git_token=read_secret_file("FLOWS_GIT_TOKEN_FILE", environment),
            github_token=read_secret_file("GITHUB_TOKEN_FILE", environment),
            warehouse_url=_warehouse_url(environment.get("WAREHOUSE_URL", "")),
            warehouse_password=read_secret_file("WAREHOUSE_PASSWORD_FILE", environment),
            auth_string=environment.get(AUTH_STRING) or None,
            api_key=environment.get(API_KEY) or None,
            slack_webhook_url=_secret_url("ALERT_SLACK_WEBHOOK_URL_FILE", environment),
            webhook_url=_secret_url("ALERT_WEBHOOK_URL_FILE", environment),
            **_mail(environment),
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value that must never be shown."""
        values = (
            self.password,
            self.token,
            self.git_token,
            self.github_token,
            self.warehouse_password,
            self.auth_string,
            self.api_key,
            self.slack_webhook_url,
            self.webhook_url,
            self.sendgrid_key,
        )
        return tuple(value for value in values if value)


def ui_url_of(api_url: str) -> str:
    """Return where the UI of an API is: a server's own beside it, Prefect Cloud's under another name."""
    url = re.sub(r"^https://api\.(prefect\.\w+)/", r"https://app.\1/", api_url)
    url = re.sub(r"/api(?=/|$)", "", url, count=1)
    return url.replace("/accounts/", "/account/").replace("/workspaces/", "/workspace/")


def _secret_url(variable: str, environment: Mapping[str, str]) -> str | None:
    value = read_secret_file(variable, environment)
    if value is not None and (
        urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname
    ):
        raise ConfigurationError(f"{variable} names a file that holds no http URL.")
    return value


class _Mail(TypedDict):
    sendgrid_key: str | None
    email_from: str
    email_to: tuple[str, ...]


def _mail(environment: Mapping[str, str]) -> _Mail:
    key = read_secret_file("ALERT_SENDGRID_API_KEY_FILE", environment)
    sender = environment.get("ALERT_EMAIL_FROM", "").strip()
    receivers = tuple(
        name.strip() for name in environment.get("ALERT_EMAIL_TO", "").split(",") if name.strip()
    )
    if key and not (sender and receivers):
        raise ConfigurationError(
            "ALERT_SENDGRID_API_KEY is set; set ALERT_EMAIL_FROM and ALERT_EMAIL_TO too, or leave it out."
        )
    return _Mail(sendgrid_key=key, email_from=sender, email_to=receivers)


def _warehouse_url(text: str) -> str:
    """Check the warehouse's address, which is kept in the open: its password has a place of its own."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("postgres", "postgresql") and bool(
            parts.hostname and parts.path.strip("/")
        )
        has_password = parts.password is not None
    except ValueError:
        is_usable = has_password = False
    if has_password:
        raise ConfigurationError(
            "WAREHOUSE_URL holds a password; take it out, and give it in WAREHOUSE_PASSWORD."
        )
    if not is_usable:
        raise ConfigurationError(
            f"WAREHOUSE_URL is {text!r}; it looks like postgresql://USER@HOST:5432/DATABASE."
        )
    return text


def read_secret_file(variable: str, environment: Mapping[str, str]) -> str | None:
    """Read the secret in the file that a variable names, without its trailing newline.

    Returns:
        The secret, or None when the variable is unset or empty, or the file is empty: that means "off".

    Raises:
        ConfigurationError: The file is missing, unreadable or implausibly long.
    """
    name = environment.get(variable)
    if not name:
        return None
    try:
        with Path(name).open("rb") as file:
            content = file.read(MAXIMUM_SECRET_BYTES + 1)
        value = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(
            f"{variable} names {name}, which cannot be read: {error.strerror or error}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable} names {name}, which is not UTF-8 text.") from None
    if len(content) > MAXIMUM_SECRET_BYTES:
        raise ConfigurationError(f"{variable} names {name}, which is too long for a secret.")
    return value if value.strip() else None


def adopt_logins(environment: dict[str, str] | None = None) -> None:
    """Turn the files of the server's login and key into settings; call before importing Prefect.

    Raises:
        ConfigurationError: A file is missing or unreadable.
    """
    target = os.environ if environment is None else environment
    for name in (AUTH_STRING, API_KEY):
        value = read_secret_file(f"{name}_FILE", target)
        if value is not None:
            target[name] = value
