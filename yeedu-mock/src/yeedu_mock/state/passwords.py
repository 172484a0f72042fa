"""Hash passwords, so that the database holds none."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def hash_password(password: str) -> str:
    """Return a salted scrypt hash of `password`."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{_scrypt(password, salt).hex()}"


def is_password(password: str, password_hash: str) -> bool:
    """Return whether `password` is the one that `password_hash` was made from."""
    salt, expected = (bytes.fromhex(part) for part in password_hash.split(":"))
    return hmac.compare_digest(_scrypt(password, salt), expected)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
