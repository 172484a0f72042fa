"""Read the start options from the command line and the environment, and refuse what is wrong."""

from __future__ import annotations

import json
import os
import secrets
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from yeedu_mock.control.switches import SwitchError, Switches

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

AUTH_TYPES = ("LDAP", "AAD", "AZURE_SSO")
MAX_SPARE_KERNELS = 8


class SettingsError(Exception):
    """A start option is wrong; the message is one sentence that names it."""


@dataclass(frozen=True)
class Settings:
    """How a mock is to run.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        state_directory: Holds the database, the runs' folders and a generated password.
        username: Who may log in.
        password: With which password; None has one generated into `state_directory/password`.
        external_url: Base of the URLs the mock hands out; None takes the one it was called by.
        auth_type: What `login/auth_type` answers.
        spare_kernels: How many Jupyter kernels are kept started ahead.
        job_time_limit_seconds: When a running job is ended.
        stop_delay_seconds: How long a run stays in STOPPING.
        tls_certificate: PEM file with the certificate to serve https with; None serves http.
        tls_key: PEM file with its key; None takes it from the certificate's file.
        control: Whether `/_control/*` is served, to any program that can reach the port.
        switches: Switches that are set from the start, by name.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    state_directory: Path = Path(".yeedu-mock")
    username: str = "demo"
    password: str | None = field(default=None, repr=False)
    external_url: str | None = None
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


@dataclass(frozen=True)
class _Option:
    """One start option: `--a-name` on the command line, `YEEDU_MOCK_A_NAME` in the environment."""

    name: str
    default: str | None
    help: str
    is_on_command_line: bool = True

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return f"YEEDU_MOCK_{self.name.upper()}"


OPTIONS = (
    _Option("host", "127.0.0.1", "address to listen on"),
    _Option("port", "8080", "port to listen on, 0 for a free one"),
    _Option("state_directory", None, "where state is kept (default: ~/.local/state/yeedu-mock)"),
    _Option("username", "demo", "who may log in"),
    _Option("password", None, "the password itself", is_on_command_line=False),  # `ps` shows command lines
    _Option("password_file", None, "file whose first line is the password"),
    _Option("external_url", None, "base of the URLs handed out, such as http://localhost:8088"),
    _Option("auth_type", "LDAP", f"one of {', '.join(AUTH_TYPES)}"),
    _Option("spare_kernels", "1", f"kernels kept started ahead, 0 to {MAX_SPARE_KERNELS}"),
    _Option("job_time_limit", "3600", "seconds after which a job is ended"),
    _Option("stop_delay", "0", "seconds a run stays in STOPPING"),
    _Option("tls_certificate", None, "PEM file of a certificate, to serve https"),
    _Option("tls_key", None, "PEM file of its key, where it is not in the certificate's"),
    _Option("control", "off", "on to serve /_control/* to any program that can reach the port"),
    _Option("switches", None, 'behaviours to set from the start, as JSON: {"list_order": "oldest_first"}'),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every start option to a parser."""
    for option in OPTIONS:
        if option.is_on_command_line:
            default = f"; default {option.default}" if option.default else ""
            parser.add_argument(
                option.flag,
                dest=option.name,
                metavar="VALUE",
                help=f"{option.help} [{option.variable}{default}]",
            )


def read_settings(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Return the settings; the command line goes before the environment, an empty value counts as none.

    Raises:
        SettingsError: A value cannot be used.
    """
    given = {
        option.name: getattr(arguments, option.name, None)
        or environment.get(option.variable)
        or option.default
        for option in OPTIONS
    }
    return Settings(
        host=given["host"] or "",
        port=int(_number("port", given["port"], 0, 65535, whole=True)),
        state_directory=_state_directory(given["state_directory"], environment),
        username=_username(given["username"]),
        password=_password(given["password"], given["password_file"]),
        external_url=_external_url(given["external_url"]),
        auth_type=_auth_type(given["auth_type"]),
        spare_kernels=int(_number("spare_kernels", given["spare_kernels"], 0, MAX_SPARE_KERNELS, whole=True)),
        job_time_limit_seconds=_number("job_time_limit", given["job_time_limit"], 1, 7 * 86400),
        stop_delay_seconds=_number("stop_delay", given["stop_delay"], 0, 600),
        tls_certificate=_certificate(given["tls_certificate"], given["tls_key"]),
        tls_key=Path(given["tls_key"]) if given["tls_key"] else None,
        control=_switch("control", given["control"]),
        switches=_switches(given["switches"]),
    )


def ensure_password(settings: Settings) -> tuple[str, Path | None]:
    """Return the password, and the file it was generated into when none was given.

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
        return _first_line(path), path
    except OSError as error:
        raise SettingsError(
            f"The generated password's file {path} cannot be used: {error.strerror}."
        ) from error


def _password(password: str | None, file: str | None) -> str | None:
    if password and file:
        raise SettingsError("Give YEEDU_MOCK_PASSWORD or a password file, not both.")
    if not file:
        try:
            (password or "").encode()
        except UnicodeEncodeError as error:
            raise SettingsError("YEEDU_MOCK_PASSWORD must be text in UTF-8.") from error
        return password
    try:
        return _first_line(Path(file))
    except OSError as error:
        raise SettingsError(f"The password file {file} cannot be read: {error.strerror}.") from error


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    if not lines or not lines[0]:
        raise SettingsError(
            f"The password file {path} is empty or not in UTF-8; write the password on its first line."
        )
    return lines[0]


def _number(name: str, text: str | None, low: float, high: float, *, whole: bool = False) -> float:
    option = next(option for option in OPTIONS if option.name == name)
    try:
        value = float(int(text or "") if whole else float(text or ""))
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise SettingsError(
            f"{option.flag} (or {option.variable}) must be {kind} from {low:g} to {high:g}, not {text!r}."
        )
    return value


def _switch(name: str, text: str | None) -> bool:
    option = next(option for option in OPTIONS if option.name == name)
    if text not in {"on", "off"}:
        raise SettingsError(f"{option.flag} (or {option.variable}) must be on or off, not {text!r}.")
    return text == "on"


def _switches(text: str | None) -> dict[str, object]:
    try:
        found: object = json.loads(text or "{}")
        if not isinstance(found, dict):
            raise SwitchError("It must be a JSON object, with a value for each switch's name.")
        given = cast("dict[str, object]", found)
        Switches().changed(given)
    except (ValueError, RecursionError) as error:
        why = error if isinstance(error, SwitchError) else f"It is not JSON: {error}."
        raise SettingsError(f"--switches (or YEEDU_MOCK_SWITCHES) cannot be used. {why}") from error
    return given


def _certificate(certificate: str | None, key: str | None) -> Path | None:
    if certificate is None:
        if key is not None:
            raise SettingsError("--tls-key (or YEEDU_MOCK_TLS_KEY) needs a --tls-certificate to go with it.")
        return None
    try:
        # An empty pass phrase for a key that has one: otherwise OpenSSL would ask for it at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:  # among them what is wrong with the files' content
        raise SettingsError(
            f"The certificate {certificate} cannot be used with its key ({error.strerror or error}); "
            "--tls-certificate and --tls-key take PEM files that belong together, without a pass phrase."
        ) from error
    return Path(certificate)


def _username(text: str | None) -> str:
    if not text or text.strip() != text or not text.isprintable():
        raise SettingsError(
            "--username (or YEEDU_MOCK_USERNAME) must be printable and not start or end with blanks, "
            f"not {text!r}."
        )
    return text


def _auth_type(text: str | None) -> str:
    if text not in AUTH_TYPES:
        raise SettingsError(
            f"--auth-type (or YEEDU_MOCK_AUTH_TYPE) must be one of {', '.join(AUTH_TYPES)}, not {text!r}."
        )
    return text


def _external_url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        is_base = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_base = is_base and text.isprintable() and " " not in text
    except ValueError:
        is_base = False
        parts = None
    if not is_base or parts is None or parts.query or parts.fragment or parts.username:
        raise SettingsError(
            f"--external-url (or YEEDU_MOCK_EXTERNAL_URL) must look like http://localhost:8088, not {text!r}."
        )
    return text.rstrip("/")


def _state_directory(text: str | None, environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(text) if text else Path(base) / "yeedu-mock"
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise SettingsError(
            f"--state-directory (or YEEDU_MOCK_STATE_DIRECTORY) is {path}, and there is no such home; "
            "give a whole path."
        ) from error
