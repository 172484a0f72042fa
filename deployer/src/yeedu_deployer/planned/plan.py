"""Plans what to do with one object of any kind; exactly what is planned is then applied.

A plan compares the file, the server, and what was applied last. A value is written only if the file's value
has changed since it was last applied. So an unchanged file writes nothing, and what an operator changed by
hand stays until the file says something new about it.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from yeedu_deployer.errors import DeployerError, Place
from yeedu_deployer.state import Applied, Kind

STAND_INS = UUID("9f4b8f6e-5d8c-4f0a-8a51-6f0f3d2c7b1e")
# Left alone if what was applied last is unknown: switches that people set in the UI, and credentials.
UNTOUCHED_UNLESS_APPLIED = frozenset({"paused", "active", "enabled", "value"})
# A file that stops mentioning these leaves them as they are: the server has no empty value for them.
NEVER_EMPTY = frozenset({"paused"})
SLOW = "scrypt"
# About 50 ms and 16 MB for each guess at a credential.
SCRYPT_COST, SCRYPT_BLOCK_SIZE, SALT_BYTES = 2**14, 8, 16


class Outcome(StrEnum):
    """What to do with an object, and what was done."""

    TO_CREATE = "create"
    TO_CHANGE = "change"
    TO_PRUNE = "prune"
    TO_SKIP = "skip"
    TO_FORGET = "forget"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    CREATED = "created"
    CHANGED = "changed"
    PRUNED = "pruned"
    SKIPPED = "skipped"
    STARTED = "started"
    FAILED = "failed"


DONE = {
    Outcome.TO_CREATE: Outcome.CREATED,
    Outcome.TO_CHANGE: Outcome.CHANGED,
    Outcome.TO_PRUNE: Outcome.PRUNED,
}


@dataclass(frozen=True)
class FieldChange:
    """One field whose value on the server will be replaced."""

    field: str
    old: object
    new: object


def fingerprint(value: object) -> str:
    """Return a JSON value's fingerprint, which does not depend on the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def slow_fingerprint(value: object, salt: str = "") -> str:
    """Return a credential's slow hash, with a new salt unless one is given."""
    salt = salt or secrets.token_hex(SALT_BYTES)
    text = json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    digest = hashlib.scrypt(text, salt=bytes.fromhex(salt), n=SCRYPT_COST, r=SCRYPT_BLOCK_SIZE, p=1)
    return f"{SLOW}${salt}${digest.hex()}"


def is_of(recorded: str, value: object) -> bool:
    """Tell whether a recorded fingerprint, of either kind, matches a value."""
    method, _, rest = recorded.partition("$")
    again = slow_fingerprint(value, rest.partition("$")[0]) if method == SLOW else fingerprint(value)
    return hmac.compare_digest(recorded, again)


def fingerprints(
    fields: Mapping[str, object], before: Mapping[str, str] | None = None, *, are_secret: bool = False
) -> dict[str, str]:
    """Return every field's fingerprint, to record once it is applied; keep those of `before` that match."""
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
    """Find the fields to write, given the fingerprints of what was applied last.

    `None` stands for a field that the file does not mention or the server does not have. `defaults` are the
    values to restore once the file drops a field and `desired` lacks it.
    """
    dropped = {name: value for name, value in (defaults or {}).items() if name in applied}
    changes: list[FieldChange] = []
    for name, value in {**dropped, **desired}.items():
        current = observed.get(name)
        if fingerprint(current) == fingerprint(value) or (value is None and name in NEVER_EMPTY):
            continue
        if name in applied:
            if is_of(applied[name], value):
                continue  # the file has not changed: someone changed the server on purpose
        elif value is None or name in UNTOUCHED_UNLESS_APPLIED:
            continue
        changes.append(FieldChange(name, current, value))
    return tuple(changes)


def drift(desired: Mapping[str, object], observed: Mapping[str, object]) -> tuple[FieldChange, ...]:
    """List every field in which server and file differ, whether an apply would write it or keep it."""
    return tuple(
        FieldChange(name, observed.get(name), value)
        for name, value in desired.items()
        # A field that the file does not mention is left to the server.
        if value is not None and fingerprint(value) != fingerprint(observed.get(name))
    )


@dataclass(frozen=True)
class Observed:
    """An object on the server: its id, and the values that are compared."""

    id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to do with one object.

    Attributes:
        kind: The object's kind.
        key: Its key in the state.
        name: What reports call it.
        desired: The values that it should have, `None` for a field that the file does not mention; `None` as
            a whole for an object to remove, or to forget if the server does not have it.
        observed: The object on the server, if there is one.
        changes: The fields to write.
        parts: The plans of its parts: a deployment's schedules.
        identity: What else creating it takes; of this, only a pool's template is ever changed.
        scope: Its owner; only what was applied in the same scope is ever removed.
        needs: Objects that have to exist first; their ids replace their stand-ins.
        stays: Fields whose record stays unless they are written, since their value is the server's own.
        is_ours: Whether the deployer creates or created it, rather than found it.
        detail: What a report adds.
        error: Why it cannot be applied at all.
        place: Where a deployment, or the one that an automation belongs to, is declared.
    """

    kind: Kind
    key: str
    name: str
    desired: Mapping[str, Any] | None = None
    observed: Observed | None = None
    changes: tuple[FieldChange, ...] = ()
    parts: tuple["Plan", ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scope: str = ""
    needs: tuple[tuple[Kind, str], ...] = ()
    stays: frozenset[str] = frozenset()
    is_ours: bool = True
    detail: str = ""
    error: DeployerError | None = None
    place: Place | None = None

    @property
    def action(self) -> Outcome:
        """What to do, in one word."""
        if self.desired is None:
            return Outcome.TO_PRUNE if self.observed else Outcome.TO_FORGET
        if self.observed is None:
            return Outcome.TO_CREATE
        is_changed = self.changes or any(part.action is not Outcome.UNCHANGED for part in self.parts)
        return Outcome.TO_CHANGE if is_changed else Outcome.UNCHANGED

    @property
    def all_changes(self) -> tuple[FieldChange, ...]:
        """Every changed field with its old and new value; those of parts as `schedules.SLUG.FIELD`."""
        return self.changes + self._of_parts(lambda part: part.changes)

    @property
    def drift(self) -> tuple[FieldChange, ...]:
        """Every field in which server and file differ, whether it is to be written or kept."""
        own = drift(self.desired or {}, self.observed.fields) if self.observed else ()
        return own + self._of_parts(lambda part: part.drift)

    def _of_parts(self, changes: Callable[["Plan"], tuple[FieldChange, ...]]) -> tuple[FieldChange, ...]:
        found: list[FieldChange] = []
        for part in self.parts:
            path = f"{part.kind}s.{part.key}"
            if part.observed is None or part.desired is None:
                found.append(FieldChange(path, part.value("rule", old=True), part.value("rule")))
            else:
                found += [replace(one, field=f"{path}.{one.field}") for one in changes(part)]
        return tuple(found)

    @property
    def summary(self) -> str:
        """The changed parts in a few words, for one line of a table."""
        said = [change.field for change in self.changes]
        for part in self.parts:
            if part.action is not Outcome.UNCHANGED:
                names = ", ".join(change.field for change in part.changes)
                said.append(f"{part.kind} {part.key} {names or DONE[part.action]}")
        return ", ".join(said)

    def value(self, name: str, *, old: bool = False) -> Any:
        """Return a field's desired value, or the server's if `old`; `None` if there is none."""
        fields = (self.observed and self.observed.fields) if old else self.desired
        return (fields or {}).get(name)

    def with_ids(self, ids: Mapping[tuple[Kind, str], str]) -> "Plan":
        """Replace stand-ins by the ids of what it needs; raise `DeployerError` if one was not created."""
        if not self.needs:
            return self
        texts = {"desired": json.dumps(self.desired), "identity": json.dumps(self.identity)}
        for kind, key in self.needs:
            if (kind, key) not in ids:
                who = f"The {self.kind} {self.name!r}"
                raise DeployerError(f"{who} needs the {kind} {key!r}, which could not be made.")
            texts = {name: text.replace(stand_in(kind, key), ids[kind, key]) for name, text in texts.items()}
        values = {name: json.loads(text) for name, text in texts.items()}
        changes = tuple(replace(one, new=values["desired"].get(one.field)) for one in self.changes)
        return replace(self, changes=changes, **values)


def stand_in(kind: Kind, key: str) -> str:
    """Return the stand-in for the id of a planned object that does not exist yet."""
    return str(uuid5(STAND_INS, f"{kind}/{key}"))


def plan_object(plan: Plan, applied: Applied | None, defaults: Mapping[str, object] | None = None) -> Plan:
    """Complete a plan with the fields to write, given what was applied last under its key.

    `defaults` are the values to restore in fields that the file has dropped.
    """
    if plan.observed is None or plan.desired is None:
        return plan
    known = applied if applied and applied.id in ("", plan.observed.id) else Applied()
    changes = changed_fields(plan.desired, plan.observed.fields, known.fields, defaults)
    return replace(plan, changes=changes, is_ours=known.created)


def record(plan: Plan, object_id: str, before: Applied | None) -> Applied:
    """Return what to record once a plan is applied.

    A field that stays as the server has it keeps its earlier record; otherwise a value that was edited in the
    UI would pass for one from the file.
    """
    is_same = before is not None and before.id in ("", object_id)
    old = before.fields if before and is_same else {}
    fields = fingerprints(plan.desired or {}, old, are_secret=plan.kind is Kind.BLOCK)
    written = {change.field for change in plan.changes}
    return Applied(
        id=object_id if plan.kind in (Kind.DEPLOYMENT, Kind.AUTOMATION) else "",  # others are known by name
        created=plan.is_ours,
        scope=plan.scope,
        fields=fields | {name: old[name] for name in plan.stays if name in old and name not in written},
        parts={part.key: fingerprints(part.desired) for part in plan.parts if part.desired is not None},
    )
