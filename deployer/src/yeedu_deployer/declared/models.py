"""Models of prefect.yaml, which serve as its checks, its JSON schema and its documentation."""

import re
from typing import Annotated, Any, Literal, Self

from prefect.events.schemas.deployment_triggers import (
    DeploymentCompoundTrigger,
    DeploymentEventTrigger,
    DeploymentMetricTrigger,
    DeploymentSequenceTrigger,
    DeploymentTriggerTypes,
)
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from yeedu_deployer.declared.schedules import Schedule
from yeedu_deployer.declared.validation import (
    Count,
    Declared,
    Name,
    Switch,
    Text,
    Texts,
    Value,
    Values,
    hint,
    prefects_own,
    problem,
)
from yeedu_deployer.declared.yaml_marks import value_of
from yeedu_worker.catch_up import TAG_PREFIX, Policy

IDENTIFIER = r"[^\W\d]\w*"
ENTRYPOINT = re.compile(
    rf"(?!/|[A-Za-z]:)[^:\\]+\.py:{IDENTIFIER}(\.{IDENTIFIER})*|{IDENTIFIER}(\.{IDENTIFIER})*[.:]{IDENTIFIER}"
    rf"(\.{IDENTIFIER})*"
)
TRIGGER: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)
TRIGGERS = (
    DeploymentEventTrigger,
    DeploymentMetricTrigger,
    DeploymentCompoundTrigger,
    DeploymentSequenceTrigger,
)
TRIGGER_KEYS = tuple(sorted({key for model in TRIGGERS for key in model.model_fields}))


def _refused(reason: str) -> BeforeValidator:
    def check(value: Any) -> None:
        if value not in ([], {}, ""):
            raise PydanticCustomError("refused", "{message}", {"message": reason})

    return BeforeValidator(check)


def _entrypoint(entrypoint: str) -> str:
    if not ENTRYPOINT.fullmatch(entrypoint) or ".." in entrypoint.partition(":")[0].split("/"):
        raise problem(
            f"must have the form 'folder/file.py:function', relative to the repository, or "
            f"'package.module:function', but it is {entrypoint!r}."
        )
    return entrypoint


def _tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Check that there is at most one catch-up tag, and that it names an existing policy."""
    given = [tag for tag in tags if tag.startswith(TAG_PREFIX)]
    known = [f"{TAG_PREFIX}{policy}" for policy in Policy]
    for tag in given:
        if tag not in known:
            raise problem(f"has {tag!r}, which is no catch-up policy; {hint(tag, known)}")
    if len(given) > 1:
        raise problem(f"has {len(given)} catch-up tags; leave one.")
    return tags


def _trigger(values: dict[str, Any]) -> dict[str, Any]:
    for key in values:
        if key not in TRIGGER_KEYS and not key.startswith("x-"):
            raise problem(f": the key {key!r} is unknown; {hint(key, TRIGGER_KEYS)}")
    if values.get("type") == "metric":
        raise problem("'metric' exists in Prefect Cloud only; use 'event', 'compound' or 'sequence'.", "type")
    values = {key: value for key, value in values.items() if key in TRIGGER_KEYS and value is not None}
    prefects_own(TRIGGER, values)
    return values


EMPTY = WithJsonSchema({"enum": [None, [], {}, ""]})
Refused = Annotated[
    None, _refused("is not supported: flow code comes from git when a run starts; leave it empty."), EMPTY
]
CloudOnly = Annotated[None, _refused("exists in Prefect Cloud only; leave it out."), EMPTY]
Steps = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]})
]
Trigger = Annotated[
    Values,
    AfterValidator(_trigger),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {key: {} for key in TRIGGER_KEYS},
            "patternProperties": {"^x-": {}},
            "additionalProperties": False,
        }
    ),
]


class WorkPool(Declared):
    """The work pool that takes a deployment's runs."""

    name: Name = Field(description="The work pool's name.")
    work_queue_name: Name | None = Field(
        None, description="A queue of the pool (default: the pool's default queue)."
    )
    job_variables: Values = Field(default={}, description="Overrides of the pool's job variables.")


class Concurrency(Declared):
    """How many runs of a deployment may be active at once, and what becomes of the others."""

    limit: Count = Field(description="How many of its runs may be active at once.")
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] | None = Field(
        None, description="Whether a run above the limit waits (the default) or is cancelled."
    )
    grace_period_seconds: Annotated[int, Field(ge=60, le=86400), BeforeValidator(value_of)] | None = Field(
        None, description="How long a slot is kept for a run that is about to start."
    )

    @property
    def options(self) -> dict[str, JsonValue] | None:
        """What Prefect stores beside the limit; `None` if nothing."""
        given: dict[str, JsonValue] = self.model_dump(exclude={"limit"}, exclude_none=True)
        return {"collision_strategy": "ENQUEUE", **given} if given else None


Limit = Annotated[
    Annotated[Count, Tag("number")] | Annotated[Concurrency, Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, dict) else "number"),
]


class Deployment(Declared):
    """One deployment. Keys that `prefect deploy` ignores are refused, unless they begin with `x-`."""

    name: Name = Field(
        description="Its name, without any of / % & < >; flow and name together are its identity."
    )
    version: Text | None = Field(None, description="A version of your own.")
    tags: Annotated[Texts, AfterValidator(_tags)] = Field(
        default=(),
        description="Tags; catch-up:latest, catch-up:all or catch-up:skip says what missed runs become.",
    )
    description: Text | None = Field(None, description="What the UI shows; by default the flow's docstring.")
    schedules: tuple[Schedule, ...] = Field(default=(), description="When runs start.")
    schedule: Annotated[Schedule | None, BeforeValidator(lambda value: value or None)] = Field(
        None, description="The older place of a single schedule."
    )
    is_schedule_active: Switch | None = Field(
        None, description="Has no effect; whether a schedule is active is said below it."
    )
    paused: Switch | None = Field(
        None, description="Whether nothing is started; an operator's pause stays unless this is changed."
    )
    concurrency_limit: Limit | None = Field(
        None, description="How many of its runs may be active at once: a number, or a mapping."
    )
    flow_name: Text | None = Field(
        None, description="The flow's name, to be compared with the one in the code."
    )
    entrypoint: Annotated[Text, AfterValidator(_entrypoint)] = Field(
        description="folder/file.py:function, relative to the repository, or package.module:function."
    )
    parameters: Values = Field(default={}, description="Values of the flow's parameters.")
    enforce_parameter_schema: Switch | None = Field(
        None, description="Whether parameters must fit the flow's types (default: true)."
    )
    pull: Steps = Field(None, description="Instead of the file's own 'pull'.")
    work_pool: WorkPool = Field(description="Where it runs.")
    triggers: tuple[Trigger, ...] = Field(
        default=(), description="Events that start a run; each becomes an automation."
    )
    build: Refused = Field(None, description="Has to be empty: flow code comes from git.")
    push: Refused = Field(None, description="Has to be empty: flow code comes from git.")
    sla: CloudOnly = Field(None, description="Has to be empty: exists in Prefect Cloud only.")
    version_type: CloudOnly = Field(None, description="Has to be empty: exists in Prefect Cloud only.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Check keys against each other; give each schedule a slug, and each trigger a name."""
        if self.schedule and self.schedules:
            raise problem("and 'schedules' are both given; leave 'schedules' alone.", "schedule")
        if self.is_schedule_active is False:
            raise problem("has no effect; write 'active: false' below the schedule.", "is_schedule_active")
        schedules = tuple(
            one.model_copy(
                update={"slug": one.slug or f"schedule-{number}", "active": one.active is not False}
            )
            for number, one in enumerate((self.schedule,) if self.schedule else self.schedules, start=1)
        )
        triggers = tuple(
            {"name": f"{self.name}__automation_{number}", **trigger}
            for number, trigger in enumerate(self.triggers, start=1)
        )
        for key, part, names in (
            ("schedules", "slug", [one.slug for one in schedules]),
            ("triggers", "name", [one["name"] for one in triggers]),
        ):
            for number, name in enumerate(names):
                if name in names[:number]:
                    raise problem(f"is taken already: {name!r}; choose another.", key, number, part)
        return self.model_copy(update={"schedules": schedules, "triggers": triggers})

    @property
    def limit(self) -> Concurrency | None:
        """The concurrency limit in its long form."""
        limit = self.concurrency_limit
        return Concurrency.model_validate({"limit": limit}) if isinstance(limit, int) else limit

    @property
    def parameter_sets(self) -> dict[str, dict[str, JsonValue]]:
        """The parameters of the deployment and of each schedule, by the prefix of messages about them."""
        sets = {"": self.parameters}
        return sets | {f"schedule {schedule.slug!r}: ": schedule.parameters for schedule in self.schedules}


class PrefectYaml(Declared):
    """The whole file. Keys that `prefect deploy` ignores are refused, unless they begin with `x-`."""

    name: Text | None = Field(
        None, description="The project's name. Only what was applied from a file of this name is ever pruned."
    )
    prefect_version: Text | None = Field(
        None, alias="prefect-version", description="The version of Prefect that the file was written for."
    )
    definitions: Value = Field(
        None,
        description="Anchors to be used below, as in keys that begin with x-; has no effect of its own.",
    )
    description: Value = Field(None, description="Has no effect; Prefect's recipes have it.")
    required_inputs: Value = Field(None, description="Has no effect; Prefect's recipes have it.")
    pull: Steps = Field(
        None, description="How a run gets its code (default: a clone of FLOWS_GIT_URL at FLOWS_GIT_REF)."
    )
    build: Refused = Field(None, description="Has to be empty: flow code comes from git.")
    push: Refused = Field(None, description="Has to be empty: flow code comes from git.")
    deployments: tuple[Deployment, ...] = Field(description="What is to be on the server.")
