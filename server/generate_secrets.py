#!/usr/bin/env python3
"""Writes every secret of the platform once, each into the folder that only its users mount.

A secret comes from the user's own file, else the user's own value, else the last start; else it is generated.
What the database was created with cannot be changed from here, so a different value is refused. An optional
secret that is not configured is emptied. Only names are ever printed.

Usage: generate_secrets.py                    (see above)
       generate_secrets.py --restore SETTING     (standard input takes the place of that secret)

Folders (volumes in docker-compose.yaml), and who mounts them:
    database   postgres, migrate, server, backup
    server     migrate, server, backup
    api        server, git-server, deployer, worker, rescue
    key        deployer, worker, rescue, with another server
    mock       yeedu-mock
    deployer   deployer
    git        deployer, worker
    warehouse  warehouse
    redis      redis, server, services, with several servers
"""

import base64
import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secret_checks import (
    SecretError,
    check_api_key,
    check_auth_string,
    check_database,
    check_fernet_key,
    check_one_login,
    check_own_server,
    check_ssh_key,
)

_BLANKS = " \t\r\n"  # stripped around a value; anything else belongs to the value


def _password() -> str:
    return secrets.token_urlsafe(32)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def _redis_users(password: str) -> str:
    """Return Redis' own list of users: everybody needs the password, except for a health check."""
    known = hashlib.sha256(password.encode()).hexdigest()
    return f"user default on #{known} ~* &* +@all\nuser health on nopass -@all +ping\n"


@dataclass(frozen=True)
class Secret:
    """One secret: its setting, where it is written, and where it comes from if it is not set.

    Then it is generated, or takes another secret's value (in its own form, and unless a third one is set), or
    stays empty.
    """

    setting: str
    folder: str
    name: str
    generate: Callable[[], str] | None = None
    check: Callable[[str], None] | None = None
    fixed: bool = False
    else_like: str = ""
    unless: str = ""
    form: Callable[[str], str] = str
    has_lines: bool = False


SECRETS = (
    Secret("POSTGRES_PASSWORD", "database", "postgres-password", generate=_password, fixed=True),
    Secret(
        "PREFECT_SERVER_ENCRYPTION_KEY",
        "server",
        "encryption-key",
        generate=_fernet_key,
        check=check_fernet_key,
        fixed=True,
    ),
    Secret("PREFECT_API_AUTH_STRING", "api", "auth-string", check=check_auth_string),
    Secret("PREFECT_API_KEY", "key", "api-key", check=check_api_key),
    Secret("YEEDU_MOCK_PASSWORD", "mock", "yeedu-password", generate=_password),
    Secret("WAREHOUSE_POSTGRES_PASSWORD", "warehouse", "postgres-password", generate=_password, fixed=True),
    Secret("YEEDU_TOKEN", "deployer", "yeedu-token"),
    Secret(
        "YEEDU_PASSWORD",
        "deployer",
        "yeedu-password",
        else_like="YEEDU_MOCK_PASSWORD",
        unless="YEEDU_TOKEN",  # of another Yeedu, which does not have the mock's password
    ),
    Secret("REDIS_PASSWORD", "redis", "redis-password", generate=_password),
    Secret("REDIS_USERS", "redis", "users.acl", else_like="REDIS_PASSWORD", form=_redis_users),
    Secret("WAREHOUSE_PASSWORD", "deployer", "warehouse-password", else_like="WAREHOUSE_POSTGRES_PASSWORD"),
    Secret("FLOWS_GIT_TOKEN", "deployer", "git-token"),
    Secret("FLOWS_GIT_SSH_KEY", "git", "ssh-key", check=check_ssh_key, has_lines=True),
    Secret("FLOWS_GIT_KNOWN_HOSTS", "git", "known-hosts", has_lines=True),
    Secret("GITHUB_TOKEN", "deployer", "github-token"),
    Secret("ALERT_WEBHOOK_URL", "deployer", "alert-webhook-url"),
    Secret("ALERT_SLACK_WEBHOOK_URL", "deployer", "alert-slack-webhook-url"),
    Secret("ALERT_SENDGRID_API_KEY", "deployer", "alert-sendgrid-api-key"),
)


def own_values(file: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines, one for each setting; a value may hold any character but a line's end.

    Compose writes the file, from values that may have several lines in ``.env``: these would be cut off, or
    be taken for another setting's.

    Raises:
        SecretError: A value has several lines, or the file is missing: logins would be off, and passwords
            generated.
    """
    try:
        text = _text(file)
    except FileNotFoundError:
        raise SecretError(
            f"{file} is missing, so that no value of .env counts; what started this passes over `configs:`, "
            "as podman-compose does: start the platform with Docker Compose 2.24 or later"
        ) from None
    values: dict[str, str] = {}
    settings, last = {secret.setting for secret in SECRETS}, "the first value"
    for line in filter(None, text.split("\n")):
        name, _, value = line.partition("=")
        if name not in settings or name in values:
            raise SecretError(
                f"{last} or a value before it has more than one line in .env; a secret is one line of text"
            )
        values[name], last = value.strip(_BLANKS), name
    return {name: value for name, value in values.items() if value}


def _text(file: Path) -> str:
    """Return a file's text unchanged: in text mode, Python takes a lone carriage return for a newline."""
    return file.read_bytes().decode("utf-8")


def own_secret(secret: Secret, values: dict[str, str], files: Path) -> str:
    """Return what the user configured: the file's content, else the value, or else an empty string."""
    file = files / secret.setting
    try:
        content = _text(file).strip(_BLANKS)
    except FileNotFoundError:
        content = ""
    except OSError as error:
        raise SecretError(
            f"{secret.setting}_FILE cannot be read by user {os.getuid()} ({error.strerror}); "
            f"make it readable: chmod a+r FILE, and where SELinux is on, chcon -t container_file_t FILE"
        ) from None
    if content and secret.setting in values:
        raise SecretError(f"{secret.setting} and {secret.setting}_FILE are both set; remove one of them")
    value = content or values.get(secret.setting, "")
    if "\n" in value and not secret.has_lines:
        raise SecretError(f"{secret.setting}_FILE holds more than one line; a secret is one line of text")
    if value and secret.check:
        secret.check(value)
    return value


def _write(target: Path, value: str) -> None:
    """Write a file atomically, readable by every user: the folder is mounted only where it is needed."""
    scratch = target.with_suffix(".new")
    scratch.write_bytes(value.encode())
    scratch.chmod(0o444)
    scratch.replace(target)


def write_secrets(
    root: Path,
    values: dict[str, str],
    files: Path,
    *,
    has_own_database: bool = False,
    has_own_redis: bool = False,
) -> list[str]:
    """Bring every secret file up to date and return one line for each one that changed.

    The password of a user's own database has to be given, is never generated, and may change. The same holds
    for a user's own Redis, which may also have none.

    Raises:
        SecretError: A configured value is malformed, unreadable, or differs from one that cannot change.
    """
    planned: list[tuple[Path, str, str]] = []
    chosen: dict[str, str] = {}
    for secret in SECRETS:
        target = root / secret.folder / secret.name
        present = _text(target) if target.exists() else ""
        own = own_secret(secret, values, files)
        is_theirs = has_own_database and secret.setting == "POSTGRES_PASSWORD"
        if is_theirs and not own:
            raise SecretError("POSTGRES_PASSWORD is not set; give your database's, or POSTGRES_PASSWORD_FILE")
        if secret.fixed and not is_theirs and present and own and own != present:
            raise SecretError(
                f"{secret.setting} differs from the one that this platform's database was created with; "
                f"unset it, or start afresh with `make destroy` (which deletes all runs)"
            )
        generate = None if has_own_redis and secret.setting == "REDIS_PASSWORD" else secret.generate
        value = own or (present or generate() if generate else "")
        chosen[secret.setting] = value
        if not value and not chosen.get(secret.unless):
            other = chosen.get(secret.else_like, "")
            value = secret.form(other) if other else ""
        if value != present or not target.exists():
            planned.append((target, value, secret.setting))
    for target, value, _ in planned:
        _write(target, value)
    return [f"{setting}: {'written' if value else 'not configured'}" for _, value, setting in planned]


def restore_secret(root: Path, setting: str, value: str) -> None:
    """Write one secret of a backup, replacing any present value.

    Raises:
        SecretError: There is no such secret, or the value is malformed.
    """
    secret = next((secret for secret in SECRETS if secret.setting == setting), None)
    if secret is None or not value:
        raise SecretError(f"{setting}: no such secret, or nothing on standard input")
    if secret.check:
        secret.check(value)
    _write(root / secret.folder / secret.name, value)


def main() -> None:
    """Write the secrets, or exit with one sentence and a non-zero code."""
    root = Path(os.environ.get("SECRETS_ROOT", "/run/platform"))
    files = Path(os.environ.get("OWN_FILES", "/run/secrets"))
    given = [Path(name) for name in os.environ.get("OWN_VALUES", "/run/own-values").split(":")]
    try:
        is_own = bool(os.environ.get("OWN_DATABASE"))
        check_database(os.environ.get("DATABASE_SETTINGS", "").split(), is_own=is_own)
        if sys.argv[1:2] == ["--restore"] and len(sys.argv) == 3:
            restore_secret(root, sys.argv[2], sys.stdin.read().strip(_BLANKS))
            return
        values = {name: value for file in given for name, value in own_values(file).items()}
        auth_string, api_key = (
            own_secret(next(secret for secret in SECRETS if secret.setting == setting), values, files)
            for setting in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")
        )
        check_one_login(auth_string, api_key)
        if address := os.environ.get("PREFECT_BIND_ADDRESS", "127.0.0.1"):  # none with another server
            check_own_server(address, auth_string, os.environ.get("PREFECT_UI_URL", "http://localhost"))
        for line in write_secrets(
            root, values, files, has_own_database=is_own, has_own_redis=bool(os.environ.get("OWN_REDIS"))
        ):
            print(line)
    except SecretError as error:
        sys.exit(f"secrets: {error}")
    except OSError as error:
        sys.exit(f"secrets: {error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
