"""The health check, the login, the choice of the tenant, and the end of the session."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from contract.scan import described

if TYPE_CHECKING:
    from contract.scan import Scan
    from contract.server import Answer

LIFETIME_SECONDS = 3600
AUTH_TYPES = {"LDAP", "AAD", "AZURE_SSO"}
NO_TOKEN = "no-token-of-yours"  # noqa: S105 - what is to be refused
OK, CREATED, CONFLICT, UNAUTHORIZED = 200, 201, 409, 401
REFUSALS = {UNAUTHORIZED, 403, 440}


class LoginError(Exception):
    """There can be no session; the message is one sentence that says why."""


def probe_health(scan: Scan) -> None:
    """Ask for the health, without a login."""
    scan.expect("health", scan.server.ask("GET", "healthCheck"), OK)


def open_session(scan: Scan) -> None:
    """Log in, unless there is a token, and select the tenant.

    Raises:
        LoginError: Yeedu refuses that.
    """
    auth_type = _auth_type(scan)
    settings = scan.settings
    if settings.token:
        scan.server.token = settings.token
        for key in ("login", "login-lifetime", "logout"):
            scan.findings.note(key, None, "a token was given")
    else:
        _log_in(scan, auth_type)
    refused = scan.refused(scan.server.ask("GET", "user/info", token=NO_TOKEN))
    scan.expect("refused-401", refused, UNAUTHORIZED)
    _select_tenant(scan)
    user = scan.server.ask("GET", "user/info").fields
    names = [name for name in ("username", "tenant_id") if user.get(name)]
    scan.findings.note("user-info", len(names) == 2, " and ".join(names) or "neither")


def close_session(scan: Scan) -> None:
    """Log out, unless the token is somebody's own, and see whether that ends it."""
    if scan.settings.token or not scan.server.token:
        return
    if scan.server.ask("POST", "logout").status != OK:
        scan.findings.note("logout", False, "the logout was refused")
        return
    scan.findings.note("logout", scan.server.ask("GET", "user/info").status >= 400)


def _auth_type(scan: Scan) -> str | None:
    answer = scan.server.ask("GET", "login/auth_type")
    value = answer.fields.get("auth_type")
    known = value if isinstance(value, str) and value in AUTH_TYPES else None
    scan.findings.note("auth-type", known is not None, known or described(answer))
    return known


def _log_in(scan: Scan, auth_type: str | None) -> None:
    """Log in for an hour.

    Raises:
        LoginError: Yeedu refuses that.
    """
    settings = scan.settings
    body: dict[str, Any] = {"username": settings.username, "password": settings.password}
    if auth_type is not None:
        body["auth_type"] = auth_type
    answer = scan.server.ask("POST", "login", body={**body, "timeout": f"{LIFETIME_SECONDS}s"})
    lifetime_is_refused = answer.status == 400
    if lifetime_is_refused:
        answer = scan.server.ask("POST", "login", body=body)
    token = answer.fields.get("token")
    if answer.fields.get("loginURL"):
        raise LoginError("This Yeedu has single sign-on: give a token in YEEDU_TOKEN or YEEDU_TOKEN_FILE.")
    if answer.status != OK or not isinstance(token, str):
        raise LoginError(_why_not("the login", answer))
    scan.server.token = token
    scan.findings.note("login", True)
    lifetime = _lifetime_seconds(token)
    if lifetime_is_refused:
        scan.findings.note("login-lifetime", False, "a lifetime of an hour was refused")
    elif lifetime is not None:
        scan.findings.note("login-lifetime", lifetime == LIFETIME_SECONDS, f"{lifetime} s")
    else:
        scan.findings.note("login-lifetime", None, "the token does not show it")


def _select_tenant(scan: Scan) -> None:
    """Select the tenant, and once more; before that, try a workspace.

    Raises:
        LoginError: Yeedu refuses that.
    """
    before = scan.list_runs("job", limit=1)
    path = f"user/select/{scan.settings.place.tenant}"
    first = scan.server.ask("POST", path)
    if first.status not in {OK, CREATED, CONFLICT}:
        what = "the token" if scan.settings.token and first.status in REFUSALS else "the tenant in YEEDU_URL"
        raise LoginError(_why_not(what, first))
    if first.status == CONFLICT:
        scan.findings.note("tenant-first", None, "the token had a tenant already")
        scan.findings.note("select-answer", None, "the token had a tenant already")
    else:
        scan.findings.note("tenant-first", before.status >= 400, described(before))
        scan.findings.note("select-answer", bool(first.fields))
    scan.expect("select-once", first if first.status == CONFLICT else scan.server.ask("POST", path), CONFLICT)


def _why_not(what: str, answer: Answer) -> str:
    if answer.status not in REFUSALS and not answer.is_from_yeedu:
        return (
            f"{what.capitalize()} was answered with {answer.status} without an error_code of Yeedu's: it is "
            "away, a proxy stands before it, or YEEDU_URL has not the port of the REST API."
        )
    return f"Yeedu refuses {what} ({described(answer)}); check the values that are set."


def _lifetime_seconds(token: str) -> int | None:
    """Return how long a JWT is valid, as it says itself; None where it does not."""
    try:
        payload = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return int(claims["exp"]) - int(claims["iat"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
