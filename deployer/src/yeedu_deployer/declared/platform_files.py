"""Reads work-pools.yaml and alerts.yaml: work pools and automations, for which prefect.yaml has no place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from prefect.events.actions import ActionTypes
from prefect.events.schemas.automations import TriggerTypes
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, model_validator

from yeedu_deployer.declared.validation import (
    Count,
    Declared,
    Name,
    Switch,
    Text,
    Values,
    names_differ,
    prefects_own,
    problem,
    read_model,
)

PROCESS = "process"
POOL_TYPES = (PROCESS, "docker", "kubernetes")


def _pool_type(kind: str) -> str:
    if kind not in POOL_TYPES:
        types = f"{', '.join(POOL_TYPES[:-1])} or {POOL_TYPES[-1]}"
        raise problem(f"must be {types}, but it is {kind!r}; create a pool of another type by hand.")
    return kind


class Pool(Declared):
    """A work pool; its `job_variables` are defaults in its base job template."""

    name: Name
    type: Annotated[Text, AfterValidator(_pool_type)] = PROCESS
    description: Text | None = None
    concurrency_limit: Count | None = None
    job_variables: Values = Field(default={})


_TRIGGER: TypeAdapter[Any] = TypeAdapter(TriggerTypes)
_ACTION: TypeAdapter[Any] = TypeAdapter(ActionTypes)
Trigger = Annotated[Any, BeforeValidator(lambda value: prefects_own(_TRIGGER, value))]
Action = Annotated[Any, BeforeValidator(lambda value: prefects_own(_ACTION, value))]


class Notify(Declared):
    """The message to every notification target; Prefect renders it when the automation fires."""

    subject: Text | None = None
    body: Text | None = None


class Alert(Declared):
    """An automation of the platform itself, in Prefect's own form except for `notify`."""

    name: Text
    description: Text = ""
    enabled: Switch = True
    trigger: Trigger
    notify: Notify | None = None
    actions: tuple[Action, ...] = ()

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.notify and not self.actions:
            raise problem("needs 'notify' or 'actions'.")
        return self


class _WorkPoolsYaml(Declared):
    work_pools: Annotated[tuple[Pool, ...], AfterValidator(names_differ)] = ()


class _AlertsYaml(Declared):
    automations: Annotated[tuple[Alert, ...], AfterValidator(names_differ)] = ()


def load_pools(path: Path, environment: Mapping[str, str]) -> tuple[Pool, ...]:
    """Read every pool of a work-pools.yaml."""
    return read_model(path, environment, _WorkPoolsYaml).work_pools


def load_alerts(path: Path, environment: Mapping[str, str]) -> tuple[Alert, ...]:
    """Read every automation of an alerts.yaml."""
    return read_model(path, environment, _AlertsYaml, "notify").automations
