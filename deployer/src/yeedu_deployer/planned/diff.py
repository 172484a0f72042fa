"""Three-way comparison of one object's fields: the file, the server, and what was applied last.

A value is written only when the file's value changed since it was last applied. So a file that has not
changed writes nothing, and what an operator changed by hand stays until the file says something new about it.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

# Left alone while it is not known what was applied last: switched by hand in the UI, or a credential.
UNTOUCHED_UNLESS_APPLIED = frozenset({"paused", "active", "enabled", "value"})
# Where a file stops to mention these, it has no opinion any more; the server knows no empty value of them.
NEVER_EMPTY = frozenset({"paused"})
SLOW = "scrypt"
# About 50 ms and 16 MB for each guess at a credential.
SCRYPT_COST, SCRYPT_BLOCK_SIZE, SALT_BYTES = 2**14, 8, 16


@dataclass(frozen=True)
class FieldChange:
    """One field whose value on the server will be replaced."""

    field: str
    old: object
    new: object


def fingerprint(value: object) -> str:
    """Identify a JSON value; equal values have equal fingerprints whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def slow_fingerprint(value: object, salt: str = "") -> str:
    """Identify a credential by a salted slow hash; without a salt, by a new one each time."""
    salt = salt or secrets.token_hex(SALT_BYTES)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    digest = hashlib.scrypt(text, salt=bytes.fromhex(salt), n=SCRYPT_COST, r=SCRYPT_BLOCK_SIZE, p=1)
    return f"{SLOW}${salt}${digest.hex()}"


def is_of(recorded: str, value: object) -> bool:
    """Tell whether a recorded fingerprint of either kind is that of a value."""
    method, _, rest = recorded.partition("$")
    again = slow_fingerprint(value, rest.partition("$")[0]) if method == SLOW else fingerprint(value)
    return hmac.compare_digest(recorded, again)


def fingerprints(
    fields: Mapping[str, object], before: Mapping[str, str] | None = None, *, are_secret: bool = False
) -> dict[str, str]:
    """Identify every field, to be recorded once it is applied; what still holds of `before` is kept."""
    make, before = slow_fingerprint if are_secret else fingerprint, before or {}
    return {
        name: before[name] if name in before and is_of(before[name], value) else make(value)
        for name, value in fields.items()
    }


def changed_fields(
    desired: Mapping[str, object],
    observed: Mapping[str, object],
    applied: Mapping[str, str],
    defaults: Mapping[str, object] | None = None,
) -> tuple[FieldChange, ...]:
    """Find the fields to write, by the fingerprints of what was applied last.

    `None` is a field that the file does not mention, and one that is absent on the server. `defaults` are the
    values that fields get back once the file drops them, of those that `desired` may lack.
    """
    dropped = {name: value for name, value in (defaults or {}).items() if name in applied}
    changes: list[FieldChange] = []
    for name, value in {**dropped, **desired}.items():
        current = observed.get(name)
        if fingerprint(current) == fingerprint(value) or (value is None and name in NEVER_EMPTY):
            continue
        if name in applied:
            if is_of(applied[name], value):
                continue  # the file says the same as last time: someone changed it on the server on purpose
        elif value is None or name in UNTOUCHED_UNLESS_APPLIED:
            continue
        changes.append(FieldChange(name, current, value))
    return tuple(changes)


def drift(desired: Mapping[str, object], observed: Mapping[str, object]) -> tuple[FieldChange, ...]:
    """List every field in which server and file differ, whether an apply would write it or keep it."""
    return tuple(
        FieldChange(name, observed.get(name), value)
        for name, value in desired.items()
        # A field that the file does not mention is the server's own affair.
        if value is not None and fingerprint(value) != fingerprint(observed.get(name))
    )
