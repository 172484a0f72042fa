"""Logs users in and out; a session is identified by its token, and has the tenant that it selected."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from yeedu_mock.errors import BadRequestError, ConflictError, NoAccessError, NotFoundError, NotLoggedInError
from yeedu_mock.state.passwords import PasswordCheck, hash_password
from yeedu_mock.state.records import Session, Tenant, User, now

if TYPE_CHECKING:
    from yeedu_mock.control.switches import Switches
    from yeedu_mock.state.store import Store

DEFAULT_TIMEOUT = "48h"
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TIMEOUT = re.compile(r"\s*(\d{1,9})\s*([a-z]*)\s*", re.IGNORECASE)
# Some published clients never log out, and their sessions never end.
MAX_LOGINS = 500
MAX_TIMEOUT_SECONDS = 10 * 365 * 86400


class Sessions:
    """The sessions of one store."""

    def __init__(self, store: Store, switches: Switches) -> None:
        self._store = store
        self._switches = switches
        self._signing_key = secrets.token_bytes(32)
        self._passwords = PasswordCheck()
        self._nobody = hash_password(secrets.token_hex())

    def log_in(self, username: str, password: str, timeout: object = None) -> str:
        """Open a session and return its token.

        Args:
            username: The user.
            password: The user's password.
            timeout: How long it lasts: `infinity`, `48h` (default), `2 days`, `1700s`, or a number of hours.

        Raises:
            NotLoggedInError: The user or the password is wrong.
            BadRequestError: The timeout cannot be read.
        """
        seconds = timeout_seconds(timeout)
        user = next((user for user in self._store.all(User) if user.username == username), None)
        # An unknown user takes the same time as a wrong password.
        known_hash = user.password_hash if user else self._nobody
        if not self._passwords.is_password(password, known_hash) or user is None:
            raise NotLoggedInError("The user name or the password is wrong.", code="RFA-000002")
        return self.open(user, seconds)[1]

    def open(self, user: User, seconds: float | None, description: str | None = None) -> tuple[Session, str]:
        """Open a session for a user without asking for a password; return it and its token.

        Expired sessions are forgotten, and so are the user's oldest ones if there are too many.
        """
        self._forget_old(user)
        token = self._new_token(user, seconds)
        expires_at = None if seconds is None else now() + timedelta(seconds=seconds)
        session = Session(
            token_hash=_hash(token), user_id=user.id, expires_at=expires_at, description=description
        )
        return self._store.add(session), token

    def find(self, token: str | None) -> Session:
        """Return the session of a token.

        Raises:
            NotLoggedInError: There is no token, or its session does not exist or has expired.
        """
        if not token:
            raise NotLoggedInError("Auth Token not found")
        token_hash = _hash(token)
        for session in self._store.all(Session):
            if hmac.compare_digest(session.token_hash, token_hash):
                if session.expires_at is None or session.expires_at > now():
                    return session
                self._store.remove(session)
                break
        raise self._expired()

    def user(self, session: Session) -> User:
        """Return the user of a session."""
        user = self._store.get(User, session.user_id)
        if user is None:
            raise self._expired()
        return user

    def tenant(self, session: Session) -> str | None:
        """Return the tenant that a session has selected, or None."""
        if session.tenant is None and not self._switches.tenant_required:
            return next(iter(self.user(session).tenants), None)
        return session.tenant

    def select_tenant(self, session: Session, tenant: str) -> Tenant:
        """Bind a session to a tenant.

        Args:
            session: The session.
            tenant: The tenant's UUID.

        Raises:
            NotFoundError: There is no such tenant.
            NoAccessError: The user does not belong to it.
            ConflictError: The session has selected a tenant already.
        """
        found = next((known for known in self._store.all(Tenant) if known.uuid == tenant), None)
        if found is None:
            raise NotFoundError(f"There is no tenant with the id {tenant}.")
        if tenant not in self.user(session).tenants:
            raise NoAccessError(f"The user does not belong to the tenant {tenant}.")
        if session.tenant is not None and not self._switches.select_again:
            raise ConflictError(
                f"Association to the tenant Id: {tenant} is not allowed for the current session. "
                "A tenant has been selected already."
            )
        session.tenant = tenant
        self._store.save(session)
        return found

    def close(self, session: Session) -> None:
        """Log out."""
        self._store.remove(session)

    def expire_all(self) -> None:
        """End every session, as if it had expired."""
        for session in self._store.all(Session):
            self._store.remove(session)

    def _forget_old(self, user: User) -> None:
        living: list[Session] = []
        for session in self._store.all(Session):
            if session.expires_at is not None and session.expires_at <= now():
                self._store.remove(session)
            elif session.user_id == user.id and session.description is None:
                living.append(session)
        for session in living[: max(0, len(living) - MAX_LOGINS + 1)]:
            self._store.remove(session)

    def _expired(self) -> NotLoggedInError:
        return NotLoggedInError(
            "User session has expired. Please login again.", status=self._switches.expired_status
        )

    def _new_token(self, user: User, seconds: float | None) -> str:
        """Return a token in the form of a JWT; only the store decides whether it is valid."""
        issued = int(time.time())
        claims: dict[str, object] = {"user_id": user.id, "iat": issued, "jti": secrets.token_urlsafe(24)}
        if seconds is not None:
            claims["exp"] = issued + int(seconds)
        signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
        signature = hmac.digest(self._signing_key, signed.encode(), "sha256")
        return f"{signed}.{_base64(signature)}"


def timeout_seconds(timeout: object) -> float | None:
    """Return a session's `timeout` in seconds; None for `infinity`.

    Raises:
        BadRequestError: The timeout cannot be read.
    """
    text = str(DEFAULT_TIMEOUT if timeout is None else timeout).strip()
    if text.casefold() == "infinity":
        return None
    match = TIMEOUT.fullmatch(text)
    factor = SECONDS_PER_UNIT.get((match[2] or "h")[0].casefold()) if match else None
    if match is None or factor is None or not 0 < int(match[1]) * factor <= MAX_TIMEOUT_SECONDS:
        raise BadRequestError(f"The timeout {text[:40]!r} is none; write 48h, 2 days, 1700s or infinity.")
    return int(match[1]) * factor


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _segment(content: dict[str, object]) -> str:
    return _base64(json.dumps(content, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
