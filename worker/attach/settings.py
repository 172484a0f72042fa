"""The settings of an attached worker, and which of them are saved in its folder."""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from attach.errors import AttachError
from yeedu_worker.dotenv import DotenvError, read_dotenv

AUTH_STRING = "PREFECT_API_AUTH_STRING"
API_KEY = "PREFECT_API_KEY"
# The settings' names in an environment file; the platform's own worker uses the same.
VARIABLES = {
    "server": "PREFECT_API_URL",
    "pool": "WORKER_POOL",
    "work_queues": "WORKER_QUEUES",
    "name": "WORKER_NAME",
    "limit": "WORKER_LIMIT",
    "query_seconds": "PREFECT_WORKER_QUERY_SECONDS",
    "grace_seconds": "WORKER_GRACE_SECONDS",
    "flows_git_url": "FLOWS_GIT_URL",
    "flows_git_ref": "FLOWS_GIT_REF",
    "yeedu_url": "YEEDU_URL",
    "extras": "WORKER_EXTRAS",
    "config_dir": "CONFIG_DIR",
    "auth_string_file": "PREFECT_API_AUTH_STRING_FILE",
    "api_key_file": "PREFECT_API_KEY_FILE",
}
# Where programs find certificates to trust. Saved, since a service does not start from a user's shell.
CERTIFICATES = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"),
    "AWS_CA_BUNDLE",
)


@dataclass(frozen=True)
class Settings:
    """How one worker is attached; no secret, unless the user put one into the environment file.

    Attributes:
        server: The API's URL.
        pool: The work pool.
        name: The worker's name on the server.
        limit: The maximum number of concurrent flow runs.
        query_seconds: Seconds between two polls.
        grace_seconds: Seconds from asking the worker to stop until it is killed; its runs may end meanwhile.
        flows_git_url: The flows' repository as this machine reaches it: the pull steps' ``$FLOWS_GIT_URL``.
        flows_git_ref: Its branch or tag; empty for the default branch.
        yeedu_url: Yeedu's address from this machine, to check that it answers; empty for no check.
        environment: A Python environment that has the operator already; empty to make one.
        extras: Names of requirements/extras, separated by commas, to install for flows as well.
        variables: For flows: those of `CERTIFICATES`, ``flows.env``, and the rest of the environment file.
        config_dir: The team's folder, for its list of packages and its ``flows.env``; empty for none.
        scope: ``user`` or ``system`` once a service is installed; empty for none.
        work_queues: The queues of the pool that it polls, separated by commas; empty for all.
    """

    server: str
    pool: str
    name: str
    limit: int = 10
    query_seconds: float = 2.0
    grace_seconds: int = 30
    flows_git_url: str = ""
    flows_git_ref: str = ""
    yeedu_url: str = ""
    environment: str = ""
    extras: str = ""
    variables: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    scope: str = ""
    work_queues: str = ""
    config_dir: str = ""

    @property
    def queues(self) -> list[str]:
        """The queues' names; an empty list means every queue of the pool."""
        return [name for part in self.work_queues.split(",") if (name := part.strip())]

    @property
    def polled(self) -> str:
        """What the worker polls, as messages say it."""
        return f"{self.pool} ({', '.join(self.queues)})" if self.queues else self.pool


def save(settings: Settings, file: Path) -> None:
    """Save the settings, whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n", encoding="utf-8")
    part.replace(file)


def load(file: Path) -> Settings | None:
    """Return the saved settings; `None` if there are none.

    Raises:
        AttachError: The file cannot be read or was not written by this program.
    """
    try:
        return Settings(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AttachError(f"{file} cannot be read ({error.strerror}); run as the worker's user") from None
    except (ValueError, TypeError):
        raise AttachError(f"{file} is damaged; delete the folder {file.parent} and attach again") from None


def read_environment_file(file: Path) -> dict[str, str]:
    """Return the variables of an environment file, read as Docker Compose reads one.

    Raises:
        AttachError: It cannot be read, or a line is malformed.
    """
    try:
        return read_dotenv(file, os.environ)
    except DotenvError as error:
        raise AttachError(f"--env-file {error}") from None


def read_auth_string(file: Path) -> str:
    """Return the login that a file holds.

    Raises:
        AttachError: It cannot be read, or does not hold one line of ``user:password``.
    """
    try:
        value = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        raise AttachError(f"the auth string's file {file} cannot be read; check path and owner") from None
    return checked_auth_string(value, str(file))


def checked_auth_string(value: str, source: str) -> str:
    """Return the login, if it is well formed.

    Raises:
        AttachError: It is not.
    """
    if "\n" in value or ":" not in value:
        raise AttachError(
            f"{source} does not hold the server's PREFECT_API_AUTH_STRING, one line of user:password"
        )
    return value


def read_api_key(file: Path) -> str:
    """Return the API key that a file holds.

    Raises:
        AttachError: It cannot be read, or does not hold one word.
    """
    try:
        value = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        raise AttachError(f"the API key's file {file} cannot be read; check path and owner") from None
    return checked_api_key(value, str(file))


def checked_api_key(value: str, source: str) -> str:
    """Return the API key, if it is well formed.

    Raises:
        AttachError: It is not.
    """
    if not value.isascii() or len(value.split()) != 1:
        raise AttachError(
            f"{source} does not hold the server's PREFECT_API_KEY, one word of ASCII characters"
        )
    return value


def number(text: str, source: str, *, whole: bool) -> float:
    """Return a number: whole and at least 1, or else above 0.

    Raises:
        AttachError: The text is no such number.
    """
    try:
        value = float(int(text) if whole else text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1_000_000:
        kind = "a whole number of at least 1" if whole else "a number of seconds above 0"
        raise AttachError(f"{source}={text!r} is not {kind}")
    return value


def merged(
    given: Mapping[str, str | None], from_file: Mapping[str, str], remembered: Settings | None
) -> dict[str, str]:
    """Return each setting's value: the command line's, else the environment file's, else the saved one.

    Args:
        given: The command line's options by the setting's name; `None` for one that is not given.
        from_file: The environment file's variables.
        remembered: The saved settings, if any.
    """
    before = dataclasses.asdict(remembered) if remembered else {}
    values: dict[str, str] = {}
    for name in (*VARIABLES, "environment"):
        chosen = given.get(name)
        if chosen is None:
            chosen = from_file.get(VARIABLES.get(name, ""))
        if chosen is None and name in before:
            chosen = str(before[name])
        values[name] = chosen or ""
    return values
