"""Checks what flows need from outside: the git repository, Yeedu, and tokens that have not expired."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.console import without_login
from local.doctor.model import Check, Finding, Theme, note, ok, wrong
from local.doctor.site import Site
from local.errors import CommandError
from local.processes.services import deployer, own_flows_url
from local.processes.supervisor import Supervisor
from local.status.metrics import age_of

_INSIDE = Path(__file__).parent / "inside"
_PROBE_SECONDS = 9.0  # imports take two of them
_SOON = timedelta(days=7)
_TOKENS = {
    "FLOWS_GIT_TOKEN": "deployer/git-token",
    "GITHUB_TOKEN": "deployer/github-token",
    "YEEDU_TOKEN": "deployer/yeedu-token",
    "PREFECT_API_KEY": "key/api-key",
}


def secret(site: Site, setting: str, name: str) -> str:
    """Return a secret that the platform has, else the one in the settings; empty if there is neither.

    Raises:
        CommandError: The secret cannot be read.
    """
    kept = site.secrets().get(name, "") if site.form != "none" else ""
    return kept or site.settings.secret(setting)


def check_git(site: Site) -> Iterator[Finding]:
    """Check that git reads the flows' repository with the platform's token or key, from where flows run."""
    url, revision = own_flows_url(site.settings), site.settings.get("FLOWS_GIT_REF")
    if not url:
        yield from _checkout_served(site, revision)
        return
    asked = {
        "url": url,
        "revision": revision,
        "token": secret(site, "FLOWS_GIT_TOKEN", _TOKENS["FLOWS_GIT_TOKEN"]),
    }
    yield _told(site, "git_access.py", asked, "FLOWS_GIT_URL, FLOWS_GIT_REF and FLOWS_GIT_TOKEN in .env")


def _checkout_served(site: Site, revision: str) -> Iterator[Finding]:
    """Check that git reads this checkout as it is served to flow runs."""
    asked = {"url": "http://git-server:8080/flows.git", "revision": revision, "token": ""}
    worker = Supervisor(site.state).find("worker") if site.is_process_form else None
    if site.runs("worker") and site.runs("git-server"):
        yield _told(site, "git_access.py", asked, "FLOWS_GIT_REF; `docker compose logs git-server` says more")
    elif worker and (url := worker.environment.get("FLOWS_GIT_URL")):
        yield _told(site, "git_access.py", {**asked, "url": url}, "FLOWS_GIT_REF in .env; then `make up`")
    elif not (site.root / ".git").exists():
        yield wrong(
            f"{site.root} is no git repository, and flows are cloned from it",
            "clone the platform's repository, or set FLOWS_GIT_URL in .env",
        )
    else:
        yield ok("flows are cloned from this checkout")


def _told(site: Site, program: str, asked: Mapping[str, str], settings: str) -> Finding:
    """Return what a program of `inside` found out."""
    done = site.where_flows_run(_INSIDE / program, json.dumps(asked), _PROBE_SECONDS)
    if done is None:
        return note("not checked: it takes a running worker, or .venv", "`make up`, or `make install`")
    where = "" if site.runs("worker") else ", asked from this machine"
    try:
        answer: dict[str, str] = json.loads(done.output.splitlines()[-1])
    except (ValueError, IndexError):
        return wrong(
            f"it could not be asked: {done.reason}{where}", "`docker compose logs worker`; then `make up`"
        )
    if answer["trouble"]:
        return wrong(f"{answer['trouble']}{where}", f"correct {settings}")
    shown = without_login(asked["url"])
    return ok(answer.get("text") or f"git reads {shown} (commit {answer['commit'][:10]}){where}")


def check_yeedu(site: Site) -> Iterator[Finding]:
    """Log in to Yeedu as flows do, and read the user's data, from where flows run."""
    try:
        variables = deployer(site.settings, "", "").environment
    except CommandError:
        return  # the check of the settings reports it
    of_notebook = site.settings.get("YEEDU_NOTEBOOK_URL") and not site.settings.get("YEEDU_JOB_URL")
    name = "YEEDU_NOTEBOOK_URL" if of_notebook else "YEEDU_JOB_URL"
    own = f"http://localhost:{site.settings.mock_port}/"
    url = variables[name].replace(own, "http://yeedu-mock:8080/") if site.items else variables[name]
    if site.form == "none" and url.startswith(own):
        yield ok("the platform's own mock is used, which does not run")
        return
    asked = {
        "url": url,
        "username": variables["YEEDU_USERNAME"],
        "password": secret(site, "YEEDU_PASSWORD", "deployer/yeedu-password"),
        "token": secret(site, "YEEDU_TOKEN", _TOKENS["YEEDU_TOKEN"]),
        "verify": variables["YEEDU_VERIFY_SSL"],
    }
    if not asked["password"] and not asked["token"]:
        yield wrong(
            f"there is neither a password nor a token for {without_login(url)}",
            "set YEEDU_PASSWORD_FILE or YEEDU_TOKEN_FILE in .env",
        )
        return
    yield _told(
        site, "yeedu_access.py", asked, "YEEDU_JOB_URL, YEEDU_USERNAME and the password or token in .env"
    )


def check_tokens(site: Site) -> Iterator[Finding]:
    """Check which tokens there are, and when those expire that say so."""
    for setting, name in _TOKENS.items():
        value = secret(site, setting, name)
        if not value:
            continue
        if any(character.isspace() for character in value):
            yield wrong(f"{setting} contains whitespace", f"copy the token again into {setting}_FILE")
            continue
        end = end_of(value)
        if end is None:
            yield ok(f"{setting} is there; it does not say when it ends")
            continue
        left = end - datetime.now(UTC)
        if left < timedelta(0):
            yield wrong(
                f"{setting} ended {age_of(-left)} ago",
                f"get a new one and put it into {setting}_FILE; then `docker compose up -d --force-recreate`",
            )
        elif left < _SOON:
            yield note(f"{setting} ends in {age_of(left)}", f"get a new one in time for {setting}_FILE")
        else:
            yield ok(f"{setting} is there, and is good for {age_of(left)}")


def end_of(token: str) -> datetime | None:
    """Return when a token expires, if it is a JWT that says so."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


THEME = Theme(
    "access",
    (
        Check(
            "git",
            "the flows' repository, asked with the platform's token or key by the deployer's own code, from "
            "where flows run",
            "git cannot read it, or it lacks the branch, tag or commit",
            "`FLOWS_GIT_URL`, `FLOWS_GIT_REF`, `FLOWS_GIT_TOKEN`",
            check_git,
        ),
        Check(
            "yeedu",
            "Yeedu: a login and a read by the operator's own client, from where flows run",
            "it does not answer, refuses the login, or there is neither password nor token",
            "`YEEDU_...`",
            check_yeedu,
        ),
        Check(
            "tokens",
            "which tokens there are, and when those end that say so (JWT)",
            "one has ended, or contains whitespace",
            "a new token; `docker compose up -d --force-recreate`",
            check_tokens,
        ),
    ),
)
