"""What has to be done to one object of any kind; what is planned is exactly what is then applied."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID, uuid5

from yeedu_deployer.errors import DeployerError
from yeedu_deployer.planned.diff import FieldChange, changed_fields, drift, fingerprints
from yeedu_deployer.state import Applied, Kind

E = TypeVar("E", bound=DeployerError)
STAND_INS = UUID("9f4b8f6e-5d8c-4f0a-8a51-6f0f3d2c7b1e")


class Action(StrEnum):
    """What is to be done with an object."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    UNCHANGED = "unchanged"
    FORGET = "forget"


@dataclass(frozen=True)
class Place:
    """Where a deployment is declared, which is what every sentence about it begins with.

    Attributes:
        file: The file.
        line: The line of its name.
        lines: The lines of its keys.
        name: Its name.
    """

    file: str
    line: int
    lines: Mapping[str, int]
    name: str

    def tell(self, error: E, key: str = "", *, is_shared: bool = False) -> E:
        """Return an error that begins with the place.

        Args:
            error: Where it names no key, and none is given, it is not about this deployment and stays.
            key: The key that it is about, if it names none itself.
            is_shared: Whether it is about other deployments as well.
        """
        key = error.key or key
        if not key:
            return error
        text = re.sub(r"\A(The|It|No) ", lambda found: found[0].lower(), str(error))
        of = "" if is_shared else f" deployment {self.name!r}:"
        return type(error)(f"{self.file}:{self.lines.get(key, self.line)}:{of} {text}")


@dataclass(frozen=True)
class Observed:
    """An object on the server.

    Attributes:
        id: Its id.
        fields: The values that are compared.
        parts: The same of each of its parts, which a deployment's schedules are, by slug.
    """

    id: str
    fields: Mapping[str, Any]
    parts: Mapping[str, "Observed"] = field(default_factory=dict[str, "Observed"])


@dataclass(frozen=True)
class Plan:
    """What is to be done with one object.

    Attributes:
        kind: What it is.
        key: By what it is recorded.
        name: What reports call it.
        desired: The values that it should have, `None` for a field that nobody mentioned; `None` as a whole
            for an object that is to be removed, or forgotten where the server does not have it.
        observed: The object on the server, if there is one.
        changes: The fields to write.
        parts: What is to be done with its parts.
        identity: What creating it takes besides: what can never be changed afterwards.
        scope: Whose it is; only what was applied in the same scope is ever removed.
        needs: Objects that have to be there before: their ids are put in where their stand-ins are.
        stays: Fields whose record stays unless they are written, since their value is the server's own.
        is_ours: Whether the deployer makes or made it, rather than finding it.
        detail: What a report says besides.
        error: Why it cannot be applied at all.
        place: Of a deployment and its automations, where it is declared.
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
    def action(self) -> Action:
        """The whole in one word."""
        if self.desired is None:
            return Action.REMOVE if self.observed else Action.FORGET
        if self.observed is None:
            return Action.CREATE
        is_changed = self.changes or any(part.action is not Action.UNCHANGED for part in self.parts)
        return Action.CHANGE if is_changed else Action.UNCHANGED

    @property
    def all_changes(self) -> tuple[FieldChange, ...]:
        """Every changed field with its old and new value; those of parts as `schedules.SLUG.FIELD`."""
        return self.changes + tuple(
            FieldChange(f"{part.kind}s.{part.key}{name}", old, new)
            for part in self.parts
            for name, old, new in (
                [(f".{one.field}", one.old, one.new) for one in part.changes]
                if part.action in (Action.CHANGE, Action.UNCHANGED)
                else [("", part.value("rule", old=True), part.value("rule"))]
            )
        )

    @property
    def drift(self) -> tuple[FieldChange, ...]:
        """Every field in which server and file differ, whether it is to be written or kept."""
        if self.observed is None or self.desired is None:
            return (FieldChange("", self.value("rule", old=True), self.value("rule")),)
        own = drift(self.desired, self.observed.fields)
        return own + tuple(
            replace(one, field=".".join(filter(None, (f"{part.kind}s", part.key, one.field))))
            for part in self.parts
            for one in part.drift
        )

    @property
    def summary(self) -> str:
        """The changed parts in a few words, for one line of a table."""
        said = [change.field for change in self.changes]
        for part in self.parts:
            if part.action is not Action.UNCHANGED:
                names = ", ".join(change.field for change in part.changes)
                said.append(f"{part.kind} {part.key} {names or f'{part.action}d'}")
        return ", ".join(said)

    def value(self, name: str, *, old: bool = False) -> Any:
        """Return a value as it should be, or as the server has it; `None` where there is none."""
        fields = (self.observed and self.observed.fields) if old else self.desired
        return (fields or {}).get(name)

    def with_ids(self, ids: Mapping[tuple[Kind, str], str]) -> "Plan":
        """Put the ids of what it needs in the place of their stand-ins.

        Raises:
            DeployerError: One of them could not be made.
        """
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
    """Return what stands for the id of an object that is planned, but not there yet."""
    return str(uuid5(STAND_INS, f"{kind}/{key}"))


def plan_object(plan: Plan, applied: Applied | None, defaults: Mapping[str, object] | None = None) -> Plan:
    """Complete a plan by the fields that are to be written.

    Args:
        plan: The object as it should be, and as it is.
        applied: What was last applied to the object of that key.
        defaults: The values that fields get back which the file has dropped.
    """
    if plan.observed is None or plan.desired is None:
        return plan
    known = applied if applied and applied.id in ("", plan.observed.id) else Applied()
    changes = changed_fields(plan.desired, plan.observed.fields, known.fields, defaults)
    return replace(plan, changes=changes, is_ours=known.created)


def record(plan: Plan, object_id: str, before: Applied | None) -> Applied:
    """Form what is to be recorded once a plan is applied.

    Where a value stays as the server has it, and was not written, what was applied before still counts:
    else one that was edited in the UI would pass for one of the file.
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
