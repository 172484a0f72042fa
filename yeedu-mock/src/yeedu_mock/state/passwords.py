"""Hashes passwords, so that the database contains none."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def hash_password(password: str) -> str:
    """Return a salted scrypt hash of `password`."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{_scrypt(password, salt).hex()}"


class PasswordCheck:
    """Compares passwords with hashes; a password that was right once is recognized without the slow hash."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}

    def is_password(self, password: str, password_hash: str) -> bool:
        """Return whether `password` is the one that `password_hash` was made from."""
        digest = hmac.digest(self._key, password.encode(), "sha256")
        if hmac.compare_digest(self._known.get(password_hash, b""), digest):
            return True
        salt, expected = (bytes.fromhex(part) for part in password_hash.split(":"))
        if not hmac.compare_digest(_scrypt(password, salt), expected):
            return False
        self._known[password_hash] = digest
        return True


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
