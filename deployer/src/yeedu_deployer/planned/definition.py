"""A deployment as it should be on the server: what the file says, completed by what its flow says."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from pydantic import JsonValue

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.flow_source import CREDENTIAL_KEYS
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.pull_steps import GIT_CLONE, PullStep
from yeedu_deployer.errors import ConfigurationError, FlowError
from yeedu_deployer.inspection.inspector import FlowFacts, Wanted
from yeedu_deployer.planned.plan import Place


@dataclass(frozen=True)
class Definition:
    """One deployment's desired state.

    Attributes:
        flow_name: The flow's name on the server.
        name: The deployment's name.
        fields: Prefect's fields; `None` for an optional one that nobody mentioned.
        schedules: The fields of each schedule, by slug: `rule`, `active`, `parameters`.
        kept: Parameters that stay as the server has them, each with the variables that its value would need.
        notes: What is worth telling of its flow.
    """

    flow_name: str
    name: str
    fields: Mapping[str, object]
    schedules: Mapping[str, Mapping[str, JsonValue]]
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """The parameters that it gives its runs."""
        return cast("dict[str, JsonValue]", self.fields["parameters"])

    @property
    def key(self) -> str:
        """The full name that Prefect uses, `flow/deployment`."""
        return f"{self.flow_name}/{self.name}"


def define(
    spec: DeploymentSpec, pull: tuple[PullStep, ...], facts: FlowFacts, names: BlockNames | None = None
) -> Definition:
    """Complete a deployment's declaration with its flow's name, description, version and parameters.

    Args:
        spec: What the file says.
        pull: The pull steps to store, with the access token's placeholder when there is one.
        facts: What importing the entrypoint told.
        names: How the blocks of the deployment's environment are called; by default as the platform's.

    Raises:
        FlowError: The file and the flow contradict each other.
    """
    if spec.flow_name and spec.flow_name != facts.name:
        raise FlowError(
            f"'flow_name' is {spec.flow_name!r}, but {spec.entrypoint} is the flow {facts.name!r}; write "
            "that, or leave it out.",
            "flow_name",
        )
    _check_parameters(spec, facts)
    names = names or BlockNames()
    parameters = names.parameters(spec.parameters, facts.parameter_schema)
    fields: dict[str, object] = {
        "entrypoint": spec.entrypoint,
        "description": spec.description or facts.description,
        "version": spec.version or facts.version,
        "tags": list(spec.tags),
        "parameters": {name: value for name, value in parameters.items() if name not in spec.kept},
        "enforce_parameter_schema": spec.enforce_parameter_schema,
        "parameter_openapi_schema": facts.parameter_schema,
        "pull_steps": [step.as_prefect() for step in pull],
        "work_pool_name": spec.work_pool,
        "work_queue_name": spec.work_queue,
        "job_variables": spec.job_variables,
        "concurrency_limit": spec.concurrency_limit,
        # Prefect takes a grace period together with a strategy only.
        "concurrency_options": {"collision_strategy": "ENQUEUE", **spec.concurrency_options}
        if spec.concurrency_options
        else None,
        "paused": spec.paused,
    }
    schedules: dict[str, dict[str, JsonValue]] = {
        schedule.slug: {
            "rule": schedule.rule,
            "active": schedule.active,
            "parameters": {name: names.within(one, name) for name, one in schedule.parameters.items()},
        }
        for schedule in spec.schedules
    }
    return Definition(facts.name, spec.name, fields, schedules, spec.kept, (*spec.notes, *facts.notes))


def with_kept(definition: Definition, observed: Mapping[str, object] | None) -> Definition:
    """Complete a definition by the parameters that stay as the server has them.

    Args:
        definition: The desired state, without those parameters.
        observed: The fields of the deployment on the server; `None` where it does not exist yet.

    Raises:
        ConfigurationError: The server has no value for one of them.
    """
    if not definition.kept:
        return definition
    there = cast("dict[str, JsonValue]", (observed or {}).get("parameters") or {})
    missing = {name: variables for name, variables in definition.kept.items() if name not in there}
    if missing:
        which = ", ".join(dict.fromkeys(variable for variables in missing.values() for variable in variables))
        why = "no value of" if observed is not None else "no such deployment yet, and so no value of"
        raise ConfigurationError(
            f"{which} is not set here, and the server has {why} {', '.join(missing)}; "
            "set it and apply again.",
            "parameters",
        )
    parameters = {**definition.parameters, **{name: there[name] for name in definition.kept}}
    return replace(definition, fields={**definition.fields, "parameters": parameters})


def with_observed_token(definition: Definition, observed: Mapping[str, object] | None) -> Definition:
    """Leave pull steps as the server has them where the token, not known here, is all that differs."""
    there = cast("list[dict[str, dict[str, JsonValue]]]", (observed or {}).get("pull_steps") or [])
    steps = cast("list[dict[str, dict[str, JsonValue]]]", definition.fields["pull_steps"])
    if len(there) != len(steps) or list(map(_without_token, there)) != list(map(_without_token, steps)):
        return definition
    return replace(definition, fields={**definition.fields, "pull_steps": there})


def _without_token(step: dict[str, dict[str, JsonValue]]) -> dict[str, dict[str, JsonValue]]:
    return {
        function: {name: value for name, value in inputs.items() if name not in CREDENTIAL_KEYS}
        if function == GIT_CLONE
        else inputs
        for function, inputs in step.items()
    }


def wanted(spec: DeploymentSpec, directory: str) -> Wanted:
    """Say what there is to find out about a deployment's flow, and what its runs are given.

    Args:
        spec: What the file says.
        directory: Where in the clone the pull steps leave a worker.
    """
    env = spec.job_variables.get("env")
    environment = {name: str(value) for name, value in env.items()} if isinstance(env, dict) else {}
    return Wanted(spec.entrypoint, tuple(parameter_sets(spec).values()), environment, directory)


def place_of(spec: DeploymentSpec) -> Place:
    """Say where a deployment is declared."""
    return Place(spec.file, spec.line, spec.lines, spec.name)


def parameter_sets(spec: DeploymentSpec) -> dict[str, dict[str, JsonValue]]:
    """List the sets of parameters that the file gives, each under what messages about it begin with."""
    sets = {"": spec.parameters}
    return sets | {f"schedule {schedule.slug!r}: ": schedule.parameters for schedule in spec.schedules}


def _check_parameters(spec: DeploymentSpec, facts: FlowFacts) -> None:
    if not spec.enforce_parameter_schema:
        return
    for name, reason in zip(parameter_sets(spec), facts.parameter_errors, strict=True):
        if reason is not None:
            raise FlowError(f"{name}{reason}.", "schedules" if name else "parameters")
