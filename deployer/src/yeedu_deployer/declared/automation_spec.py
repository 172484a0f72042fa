"""alerts.yaml: the automations of the platform itself, in Prefect's own form where there is one."""

from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from prefect.events.actions import ActionTypes
from prefect.events.schemas.automations import TriggerTypes
from pydantic import JsonValue, TypeAdapter, ValidationError

from yeedu_deployer.declared.section import Section

AUTOMATION_KEYS = ("name", "description", "enabled", "trigger", "notify", "actions")
NOTIFY_KEYS = ("subject", "body")
_TRIGGER: TypeAdapter[Any] = TypeAdapter(TriggerTypes)
_ACTIONS: TypeAdapter[Any] = TypeAdapter(list[ActionTypes])


@dataclass(frozen=True)
class AutomationSpec:
    """One automation as it should be.

    Attributes:
        name: Its name, by which it is remembered.
        trigger: Prefect's trigger, complete and as JSON.
        actions: Prefect's actions, complete and as JSON.
        notify: Subject and body that go to every notification target, or None.
        owner: The resource that it belongs to, for example `prefect.deployment.ID`.
    """

    name: str
    trigger: dict[str, JsonValue]
    actions: tuple[dict[str, JsonValue], ...] = ()
    notify: dict[str, str] | None = None
    description: str = ""
    is_enabled: bool = True
    owner: str | None = field(default=None)


def load_automations(path: Path, environment: EnvironmentMapping[str, str]) -> tuple[AutomationSpec, ...]:
    """Read every automation of an alerts.yaml.

    Raises:
        SpecError: Something in the file is wrong; every problem is told, each with its line.
    """
    top = Section.of_file(path, environment)
    problems = top.problems
    top.check_keys(("automations",))
    found: list[AutomationSpec] = []
    for section in top.sections("automations", "automation"):
        spec = _read_automation(section)
        if spec and any(other.name == spec.name for other in found):
            problems.add(section.line_of("name"), f"two automations are named {spec.name!r}.")
        if spec:
            found.append(spec)
    problems.raise_if_any()
    return tuple(found)


def _read_automation(section: Section) -> AutomationSpec | None:
    name = section.text("name", required=True) or ""
    section = Section(section.node, f"automation {name!r}", section.problems, section.environment)
    section.check_keys(AUTOMATION_KEYS)
    notify = section.section("notify", f"{section.where}: notify")
    wording: dict[str, str] | None = None
    if notify:
        notify.check_keys(NOTIFY_KEYS)
        # Prefect's own templates, rendered when the automation fires.
        wording = {key: str(value) for key, value in section.values("notify", templates=False).items()}
    entry = section.entry("actions")
    actions = section.plain(entry.value) if entry else []
    if not wording and not actions:
        section.problems.add(section.node.line, f"{section.where} needs 'notify' or 'actions'.")
    trigger = section.values("trigger")
    if section.entry("trigger") is None:
        section.problems.add(section.node.line, f"{section.where}: 'trigger' is missing.")
        return None
    try:
        whole_trigger = _TRIGGER.validate_python(trigger)
        whole_actions = _ACTIONS.validate_python(actions)
    except ValidationError as error:
        key = "actions" if _is_valid(trigger) else "trigger"
        section.problems.add(section.line_of(key), f"{section.where}: {first_reason(error)}")
        return None
    is_enabled = section.boolean("enabled")
    return AutomationSpec(
        name=name,
        description=section.text("description") or "",
        is_enabled=True if is_enabled is None else is_enabled,
        trigger=as_json(whole_trigger),
        actions=tuple(as_json(action) for action in whole_actions),
        notify=wording,
    )


def as_json(model: Any) -> dict[str, JsonValue]:
    """Form a model's JSON."""
    return cast("dict[str, JsonValue]", model.model_dump(mode="json"))


def first_reason(error: ValidationError) -> str:
    """Say in one clause what Prefect finds wrong."""
    details = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in details["loc"][1:])
    reason = details["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place}: {reason}." if place else f"{reason}."


def _is_valid(trigger: dict[str, JsonValue]) -> bool:
    try:
        _TRIGGER.validate_python(trigger)
    except ValidationError:
        return False
    return True
