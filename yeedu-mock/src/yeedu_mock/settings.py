"""Reads the start options from the command line and the environment, and rejects wrong ones."""

import argparse
import json
import os
import re
import secrets
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from yeedu_mock.control.switches import Switches

if TYPE_CHECKING:
    from pydantic.config import JsonDict

MAX_SPARE_KERNELS = 8
PREFIX = "YEEDU_MOCK_"
HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class SettingsError(Exception):
    """A start option is wrong; the message is one sentence that names it."""


@dataclass(frozen=True)
class Settings:
    """How a mock runs.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        state_directory: Holds the database, the runs' folders and a generated password.
        username: The user who may log in.
        password: That user's password; None generates one into `state_directory/password`.
        external_url: Base of the URLs the mock hands out; None takes the one it was called by.
        allowed_hosts: More host names under which it answers; `*.example.com` for all below `example.com`.
        auth_type: What `login/auth_type` answers.
        spare_kernels: How many Jupyter kernels to start ahead.
        job_time_limit_seconds: How long a job may run before it is ended.
        stop_delay_seconds: How long a run stays in STOPPING.
        tls_certificate: PEM file with the certificate to serve https with; None serves http.
        tls_key: PEM file with its key; None takes it from the certificate's file.
        control: Whether to serve `/_control/*`, to any program that can reach the port.
        switches: Switches to set from the start, by name.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    state_directory: Path = Path(".yeedu-mock")
    username: str = "demo"
    password: str | None = field(default=None, repr=False)
    external_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    auth_type: str = "LDAP"
    spare_kernels: int = 1
    job_time_limit_seconds: float = 3600.0
    stop_delay_seconds: float = 0.0
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    control: bool = False
    switches: dict[str, object] = field(default_factory=dict[str, object])

    @property
    def scheme(self) -> str:
        """`https` with a certificate, else `http`."""
        return "https" if self.tls_certificate else "http"


def _read_switches(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found: object = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"It is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ValueError("It must be a JSON object, with a value for each switch's name.")  # noqa: TRY004
    given = cast("dict[str, object]", found)
    Switches().changed(given)
    return given


def _read_url(value: str) -> str:
    parts = urlsplit(value)
    is_base = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    if not is_base or not value.isprintable() or " " in value:
        raise ValueError("no base of URLs")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("more than a base of URLs")
    return value.rstrip("/")


def _read_hosts(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
    if not all(HOST_NAME.fullmatch(name) for name in names):
        raise ValueError("no names of hosts")
    return names


def _option(default: Any, description: str, must_be: str | None = None, **bounds: Any) -> Any:
    """Return the field of an option; `must_be` says in an error message which values are right."""
    extra: JsonDict | None = {"must_be": must_be} if must_be else None
    return Field(default=default, description=description, json_schema_extra=extra, **bounds)


class Options(BaseSettings):
    """The start options: `--a-name` on the command line, `YEEDU_MOCK_A_NAME` in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True)

    host: str = _option("127.0.0.1", "address to listen on")
    port: int = _option(
        8080, "port to listen on, 0 for a free one", "a whole number from 0 to 65535", ge=0, le=65535
    )
    state_directory: Path | None = _option(None, "where state is kept (default: ~/.local/state/yeedu-mock)")
    username: str = _option("demo", "who may log in", "printable and not start or end with blanks")
    password: str | None = _option(None, "the password itself", repr=False)
    password_file: Path | None = _option(None, "file whose first line is the password")
    external_url: Annotated[str, BeforeValidator(_read_url)] | None = _option(
        None, "base of the URLs handed out, such as http://localhost:8088", "like http://localhost:8088"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_hosts)] = _option(
        (),
        "further host names under which it answers, separated by commas; *.example.com for all below that",
        "names like yeedu.example.com or *.example.com, without ports, separated by commas",
    )
    auth_type: Literal["LDAP", "AAD", "AZURE_SSO"] = _option(
        "LDAP", "one of LDAP, AAD, AZURE_SSO", "one of LDAP, AAD, AZURE_SSO"
    )
    spare_kernels: int = _option(
        1, "kernels kept started ahead, 0 to 8", "a whole number from 0 to 8", ge=0, le=MAX_SPARE_KERNELS
    )
    job_time_limit: float = _option(
        3600, "seconds after which a job is ended", "a number from 1 to 604800", ge=1, le=7 * 86400
    )
    stop_delay: float = _option(0, "seconds a run stays in STOPPING", "a number from 0 to 600", ge=0, le=600)
    tls_certificate: Path | None = _option(None, "PEM file of a certificate, to serve https")
    tls_key: Path | None = _option(None, "PEM file of its key, where it is not in the certificate's")
    control: Literal["on", "off"] = _option(
        "off", "on to serve /_control/* to any program that can reach the port", "on or off"
    )
    switches: Annotated[dict[str, object], NoDecode, BeforeValidator(_read_switches)] = _option(
        {}, 'behaviours to set from the start, as JSON: {"list_order": "oldest_first"}'
    )

    @field_validator("username")
    @classmethod
    def _can_be_typed(cls, name: str) -> str:
        if name.strip() != name or not name.isprintable():
            raise ValueError("not printable")
        return name

    @field_validator("password")
    @classmethod
    def _can_be_sent(cls, password: str | None) -> str | None:
        (password or "").encode()  # UnicodeEncodeError is a ValueError
        return password

    @field_validator("state_directory")
    @classmethod
    def _has_a_home(cls, path: Path | None) -> Path | None:
        try:
            return path and path.expanduser()
        except RuntimeError as error:
            raise ValueError(f"It is {path}, and there is no such home; give a whole path.") from error

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.password and self.password_file:
            raise ValueError(f"Give {PREFIX}PASSWORD or a password file, not both.")
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError(f"--tls-key (or {PREFIX}TLS_KEY) needs a --tls-certificate to go with it.")
        if self.tls_certificate is not None:
            _check_certificate(self.tls_certificate, self.tls_key)
        return self


NOT_ON_THE_COMMAND_LINE = {"password"}  # `ps` shows command lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every start option to a parser."""
    for name, option in Options.model_fields.items():
        if name not in NOT_ON_THE_COMMAND_LINE:
            default = f"; default {option.default}" if option.default not in (None, {}, ()) else ""
            text = f"{option.description} [{PREFIX}{name.upper()}{default}]"
            parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=text)


def read_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings; the command line overrides the environment, and empty values are ignored.

    Raises:
        SettingsError: A value cannot be used.
    """
    given = {name: value for name in Options.model_fields if (value := getattr(arguments, name, None))}
    try:
        options = Options(**given)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    password = _first_line(options.password_file) if options.password_file else options.password
    return Settings(
        host=options.host,
        port=options.port,
        state_directory=options.state_directory or base / "yeedu-mock",
        username=options.username,
        password=password,
        external_url=options.external_url,
        allowed_hosts=options.allowed_hosts,
        auth_type=options.auth_type,
        spare_kernels=options.spare_kernels,
        job_time_limit_seconds=options.job_time_limit,
        stop_delay_seconds=options.stop_delay,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        control=options.control == "on",
        switches=options.switches,
    )


def ensure_password(settings: Settings) -> tuple[str, Path | None]:
    """Return the password and, if none was given, the file into which it was generated.

    Raises:
        SettingsError: The file cannot be read or written.
    """
    if settings.password is not None:
        return settings.password, None
    path = settings.state_directory / "password"
    try:
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(18) + "\n")
    except OSError as error:
        raise SettingsError(
            f"The generated password's file {path} cannot be used: {error.strerror}."
        ) from error
    return _first_line(path), path


def _sentence(error: ValidationError) -> str:
    """Return what is wrong in one sentence, which shows the value unless it is the password."""
    first = error.errors()[0]
    why = str(first.get("ctx", {}).get("error", first["msg"]))
    if not first["loc"]:
        return why
    name = str(first["loc"][0])
    if name == "password":
        return f"{PREFIX}PASSWORD must be text in UTF-8."
    names = f"--{name.replace('_', '-')} (or {PREFIX}{name.upper()})"
    extra = Options.model_fields[name].json_schema_extra
    if isinstance(extra, dict):
        return f"{names} must be {extra['must_be']}, not {first['input']!r}."
    return f"{names} cannot be used. {why}"


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"The password file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        lines = []
    if not lines or not lines[0]:
        raise SettingsError(
            f"The password file {path} is empty or not in UTF-8; write the password on its first line."
        )
    return lines[0]


def _check_certificate(certificate: Path, key: Path | None) -> None:
    try:
        # An empty passphrase, for a key that has one: otherwise OpenSSL would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:  # including errors in the files' content
        raise ValueError(
            f"The certificate {certificate} cannot be used with its key ({error.strerror or error}); "
            "--tls-certificate and --tls-key take PEM files that belong together, without a pass phrase."
        ) from error
