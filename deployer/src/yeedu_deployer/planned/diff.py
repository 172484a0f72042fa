"""Three-way comparison of one object's fields: the file, the server, and what was applied last.

A value is written only when the file's value changed since it was last applied. So a file that has not
changed writes nothing, and what an operator changed by hand stays until the file says something new about it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

# What operators switch by hand in the UI: these stay even when it is not known what was applied last.
OPERATOR_OWNED = frozenset({"paused", "active", "enabled"})


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


def fingerprints(fields: Mapping[str, object]) -> dict[str, str]:
    """Identify every field of an object, to be remembered once it is applied."""
    return {name: fingerprint(value) for name, value in fields.items()}


def changed_fields(
    desired: Mapping[str, object], observed: Mapping[str, object], applied: Mapping[str, str]
) -> tuple[FieldChange, ...]:
    """Find the fields to write.

    Args:
        desired: What the file says; `None` for an optional field that it does not mention.
        observed: What the server has; a field that is absent there counts as `None`.
        applied: Fingerprints of what was last applied; empty when the object was not made here.
    """
    changes: list[FieldChange] = []
    for name, value in desired.items():
        current = observed.get(name)
        if fingerprint(current) == fingerprint(value):
            continue
        if name in applied:
            if applied[name] == fingerprint(value):
                continue  # the file says the same as last time: someone changed it on the server on purpose
        elif value is None or name in OPERATOR_OWNED:
            continue
        changes.append(FieldChange(name, current, value))
    return tuple(changes)
