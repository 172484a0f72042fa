"""alerts.yaml: the automations of the platform itself, in Prefect's own form where there is one."""

from collections.abc import Mapping as EnvironmentMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, cast

from prefect.events.actions import ActionTypes
from prefect.events.schemas.automations import TriggerTypes
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from yeedu_deployer.declared.validation import Declared, Switch, Text, check_unique, problem, read_model
from yeedu_deployer.declared.yaml_marks import value_of


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
    owner: str | None = None


def prefects_own(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Let Prefect read what is in its own form.

    Raises:
        PydanticCustomError: Prefect finds something wrong; the first thing is told.
    """
    try:
        return adapter.validate_python(value_of(value))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[0]
        at, message = details["loc"], details["msg"].removeprefix("Value error, ").rstrip(".")
        if details["type"] == "missing":
            raise problem(f": {at[-1]!r} is missing; add it.", *at[:-1]) from None
        if details["type"] == "union_tag_invalid":
            raise problem(f"must be one of {details.get('ctx', {})['expected_tags']}.", *at, "type") from None
        if message.startswith("Input should be "):
            must = message.removeprefix("Input should be ").replace("Posture.", "")
            raise problem(f"must be {must}.", *at) from None
        raise problem(f": {message[:1].lower()}{message[1:]}.", *at) from None
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise problem(f": {str(error).rstrip('.')}.") from None


_TRIGGER: TypeAdapter[Any] = TypeAdapter(TriggerTypes)
_ACTION: TypeAdapter[Any] = TypeAdapter(ActionTypes)
_Trigger = Annotated[Any, BeforeValidator(lambda value: prefects_own(_TRIGGER, value))]
_Action = Annotated[Any, BeforeValidator(lambda value: prefects_own(_ACTION, value))]


class _Notify(Declared):
    subject: Text | None = None
    body: Text | None = None


class _Automation(Declared):
    name: Text
    description: Text = ""
    enabled: Switch = True
    trigger: _Trigger
    notify: _Notify | None = None
    actions: tuple[_Action, ...] = ()

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.notify and not self.actions:
            raise problem("needs 'notify' or 'actions'.")
        return self


class _Automations(Declared):
    automations: tuple[_Automation, ...] = Field(default=())

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        check_unique(self.automations, "automations")
        return self


def load_automations(path: Path, environment: EnvironmentMapping[str, str]) -> tuple[AutomationSpec, ...]:
    """Read every automation of an alerts.yaml; Prefect renders `notify` when the automation fires.

    Raises:
        SpecError: Something in the file is wrong; every problem is told, each with its line.
    """
    found, _ = read_model(path, environment, _Automations, "notify")
    return tuple(
        AutomationSpec(
            name=one.name,
            description=one.description,
            is_enabled=one.enabled,
            trigger=as_json(one.trigger),
            actions=tuple(as_json(action) for action in one.actions),
            notify=one.notify.model_dump(exclude_none=True) if one.notify else None,
        )
        for one in found.automations
    )


def as_json(model: BaseModel) -> dict[str, JsonValue]:
    """Form a model's JSON, in which what Prefect keeps as a set has a stable order; a list keeps its own."""
    values: dict[str, Any] = model.model_dump(mode="json")
    for name, value in model:
        if isinstance(value, set | frozenset):
            values[name] = sorted(values[name])
        elif isinstance(value, list | tuple):
            items = cast("list[Any]", value)
            if any(isinstance(item, BaseModel) for item in items):
                values[name] = [as_json(item) if isinstance(item, BaseModel) else item for item in items]
    return values
