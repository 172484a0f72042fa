"""What the environment says: which Yeedu to ask, who logs in, and whether runs may be started."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

REST_PORT = 8080
EXAMPLE = "https://yeedu.example.com:8080/tenant/TENANT/workspace/1"
_PLACE = re.compile(
    r"(?P<prefix>.*?)/tenant/(?P<tenant>[^/]+)/workspace/(?P<workspace>\d+)(?:/(?P<rest>.*))?"
)
_TARGET = re.compile(r"(?:.*/)?(?P<kind>conf|job|notebook)/(?:[a-z]+/)?(?P<id>\d+)(?:/.*)?")
_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


class SettingsError(Exception):
    """Something cannot be used as it is set; the message is one sentence that names it."""


@dataclass(frozen=True)
class Place:
    """An address as the browser shows it, taken apart.

    Attributes:
        base_url: Base of the REST API, without a slash at the end.
        tenant: The tenant's id.
        workspace: The workspace's id.
        job: The job's id, where the address is a job's.
        notebook: The notebook's id, where the address is a notebook's.
    """

    base_url: str
    tenant: str
    workspace: int
    job: int | None = None
    notebook: int | None = None


@dataclass(frozen=True)
class Settings:
    """What to ask, and as whom; secrets are not part of the text form.

    Attributes:
        place: The workspace to look at, with a job or a notebook of it if one was named.
        username: Who logs in; not needed with a token.
        password: With which password.
        token: A token, which is used instead of a login.
        ca_file: Certificates to trust besides the usual ones.
        starts_runs: Whether the job and the notebook of the place may be run.
    """

    place: Place
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    starts_runs: bool = False


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return what the environment's variables say.

    Raises:
        SettingsError: One is missing or cannot be used.
    """
    place = _place(environment, "YEEDU_URL")
    if place is None:
        raise SettingsError(
            f"Set YEEDU_URL to the address of a workspace, a job or a notebook, such as {EXAMPLE}."
        )
    job = place.job or _definition(environment, "YEEDU_JOB_URL", place).job
    notebook = place.notebook or _definition(environment, "YEEDU_NOTEBOOK_URL", place).notebook
    token, password = _secret(environment, "YEEDU_TOKEN"), _secret(environment, "YEEDU_PASSWORD")
    username = environment.get("YEEDU_USERNAME") or None
    if not token and not (username and password):
        raise SettingsError(
            "Set YEEDU_USERNAME and YEEDU_PASSWORD_FILE, or YEEDU_TOKEN_FILE; YEEDU_PASSWORD and YEEDU_TOKEN "
            "take the value itself."
        )
    starts_runs = _truth(environment, "CONTRACT_RUNS")
    if starts_runs and job is None and notebook is None:
        raise SettingsError(
            "CONTRACT_RUNS lets a job and a notebook be run: set YEEDU_JOB_URL, YEEDU_NOTEBOOK_URL or both "
            "to those that may be."
        )
    return Settings(
        Place(place.base_url, place.tenant, place.workspace, job, notebook),
        username,
        password,
        token,
        _file(environment, "CA_CERT_FILE"),
        starts_runs,
    )


def _place(environment: Mapping[str, str], name: str) -> Place | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    refusal = SettingsError(f"{name} is no address of a workspace, a job or a notebook, such as {EXAMPLE}.")
    try:
        parts = urlsplit(text)
        port = parts.port or REST_PORT
    except ValueError:
        raise refusal from None
    found = _PLACE.fullmatch(parts.path)
    if parts.scheme not in {"http", "https"} or not parts.hostname or found is None:
        raise refusal
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    target = _TARGET.fullmatch(found["rest"] or "")
    kind, number = (target["kind"], int(target["id"])) if target else ("", None)
    return Place(
        f"{parts.scheme}://{host}:{port}{found['prefix']}",
        found["tenant"],
        int(found["workspace"]),
        number if kind in {"conf", "job"} else None,
        number if kind == "notebook" else None,
    )


def _definition(environment: Mapping[str, str], name: str, place: Place) -> Place:
    """Return what an address of a job or a notebook says, which has to be in the same workspace."""
    found = _place(environment, name) or place
    if (found.base_url, found.tenant, found.workspace) != (place.base_url, place.tenant, place.workspace):
        raise SettingsError(f"{name} and YEEDU_URL name different workspaces; ask about one at a time.")
    return found


def _secret(environment: Mapping[str, str], name: str) -> str | None:
    """Return a secret, or the first line of the file that holds it."""
    if value := environment.get(name):
        return value
    file = _file(environment, f"{name}_FILE")
    if file is None:
        return None
    try:
        return next(iter(file.read_text(encoding="utf-8").splitlines()), "").strip() or None
    except UnicodeDecodeError:
        raise SettingsError(f"{name}_FILE names {file}, which is no text.") from None


def _file(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    if not text:
        return None
    try:
        with Path(text).open("rb"):
            return Path(text)
    except OSError as error:
        raise SettingsError(f"{name} names {text}, which cannot be read: {error.strerror}.") from None


def _truth(environment: Mapping[str, str], name: str) -> bool:
    word = environment.get(name, "").strip().lower()
    if word not in _YES | _NO:
        raise SettingsError(f"{name} is {word!r}, but only 1 and 0 are possible.")
    return word in _YES
