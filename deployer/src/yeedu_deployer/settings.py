"""The deployer's settings, from the environment: addresses, credentials, and secret files."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from yeedu_deployer.errors import ConfigurationError

MAXIMUM_SECRET_BYTES = 64 * 1024
AUTH_STRING = "PREFECT_API_AUTH_STRING"
API_KEY = "PREFECT_API_KEY"


def _is_http(text: str) -> bool:
    try:
        return urlsplit(text).scheme in ("http", "https") and bool(urlsplit(text).hostname)
    except ValueError:
        return False


def _api_url(url: str) -> str:
    if not url:
        raise ConfigurationError(
            "PREFECT_API_URL is not set; set it to the server's API, for example http://localhost:8080/api."
        )
    if not _is_http(url):
        raise ConfigurationError(
            f"PREFECT_API_URL is {url!r}, which is no http URL; it looks like http://localhost:8080/api."
        )
    return url.rstrip("/")


def _ui_url(url: str, info: ValidationInfo) -> str:
    return (url or ui_url_of(info.data["api_url"])).rstrip("/")


def _verify_ssl(value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ConfigurationError(f"YEEDU_VERIFY_SSL must be true or false, but it is {value!r}.")
    return str(value).lower() == "true"


def _warehouse_url(url: str) -> str:
    """Check the warehouse's address, which is not secret: its password has its own setting."""
    try:
        parts = urlsplit(url)
        has_password, has_host = parts.password is not None, bool(parts.hostname and parts.path.strip("/"))
    except ValueError:
        parts, has_password, has_host = urlsplit(""), False, False
    if has_password:
        raise ConfigurationError(
            "WAREHOUSE_URL holds a password; take it out, and give it in WAREHOUSE_PASSWORD."
        )
    if url and not (has_host and parts.scheme in ("postgres", "postgresql")):
        raise ConfigurationError(
            f"WAREHOUSE_URL is {url!r}; it looks like postgresql://USER@HOST:5432/DATABASE."
        )
    return url


def _names(text: object) -> object:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if isinstance(text, str) else text


def _variable(name: str, default: Any = "") -> Any:
    return Field(default, alias=name)


def _secret(name: str) -> Any:
    return Field(None, alias=name, repr=False)


class Configuration(BaseModel):
    """Everything that comes from the environment, each field from the variable that is its alias.

    A secret's variable names the file that holds it, except for the server's login and key. `None` or an
    empty text means not configured.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, validate_default=True)

    api_url: Annotated[str, AfterValidator(_api_url)] = _variable("PREFECT_API_URL")
    ui_url: Annotated[str, AfterValidator(_ui_url)] = _variable("PREFECT_UI_URL")
    auth_string: str | None = _secret(AUTH_STRING)
    api_key: str | None = _secret(API_KEY)
    git_token: str | None = _secret("FLOWS_GIT_TOKEN_FILE")
    github_token: str | None = _secret("GITHUB_TOKEN_FILE")
    username: str = _variable("YEEDU_USERNAME", "demo")
    verify_ssl: Annotated[bool, BeforeValidator(_verify_ssl)] = _variable("YEEDU_VERIFY_SSL", default=True)
    ssl_cert_file: str = _variable("YEEDU_SSL_CERT_FILE")
    password: str | None = _secret("YEEDU_PASSWORD_FILE")
    token: str | None = _secret("YEEDU_TOKEN_FILE")
    warehouse_url: Annotated[str, AfterValidator(_warehouse_url)] = _variable("WAREHOUSE_URL")
    warehouse_password: str | None = _secret("WAREHOUSE_PASSWORD_FILE")
    slack_webhook_url: str | None = _secret("ALERT_SLACK_WEBHOOK_URL_FILE")
    webhook_url: str | None = _secret("ALERT_WEBHOOK_URL_FILE")
    sendgrid_key: str | None = _secret("ALERT_SENDGRID_API_KEY_FILE")
    email_from: Annotated[str, AfterValidator(str.strip)] = _variable("ALERT_EMAIL_FROM")
    email_to: Annotated[tuple[str, ...], BeforeValidator(_names)] = _variable("ALERT_EMAIL_TO", ())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read and check every variable; raise `ConfigurationError` if one is missing or wrong."""
        values: dict[str, str] = {}
        for field in cls.model_fields.values():
            name = str(field.alias)
            is_file = not field.repr and name.endswith("_FILE")
            if value := read_secret_file(name, environment) if is_file else environment.get(name):
                values[name] = value
        return cls.model_validate(values)

    @field_validator("slack_webhook_url", "webhook_url")
    @classmethod
    def _address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not _is_http(value):
            variable = cls.model_fields[str(info.field_name)].alias
            raise ConfigurationError(f"{variable} names a file that holds no http URL.")
        return value

    @model_validator(mode="after")
    def _mail_is_complete(self) -> Self:
        if self.sendgrid_key and not (self.email_from and self.email_to):
            raise ConfigurationError(
                "ALERT_SENDGRID_API_KEY is set; set ALERT_EMAIL_FROM and ALERT_EMAIL_TO too, or leave it out."
            )
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret value that must never be shown."""
        return tuple(value for name, value in self if value and not type(self).model_fields[name].repr)


def ui_url_of(api_url: str) -> str:
    """Return the URL of an API's UI: beside the API on a server, under another name in Prefect Cloud."""
    url = re.sub(r"^https://api\.(prefect\.\w+)/", r"https://app.\1/", api_url)
    url = re.sub(r"/api(?=/|$)", "", url, count=1)
    return url.replace("/accounts/", "/account/").replace("/workspaces/", "/workspace/")


def read_secret_file(variable: str, environment: Mapping[str, str]) -> str | None:
    """Read the secret in the file that a variable names, without its trailing newline.

    Returns `None`, which means "off", if the variable is unset or empty, or the file is empty. Raises
    `ConfigurationError` if the file is missing, unreadable or implausibly long.
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
    """Set the server's login and key from their files; call this before importing Prefect."""
    target = os.environ if environment is None else environment
    for name in (AUTH_STRING, API_KEY):
        value = read_secret_file(f"{name}_FILE", target)
        if value is not None:
            target[name] = value
