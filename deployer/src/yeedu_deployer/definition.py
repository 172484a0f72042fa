"""A deployment as it should be on the server: what the file says, completed by what its flow says."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from yeedu_deployer.errors import FlowError
from yeedu_deployer.inspection import FlowFacts
from yeedu_deployer.pull_steps import PullStep
from yeedu_deployer.spec import DeploymentSpec


@dataclass(frozen=True)
class Definition:
    """One deployment's desired state.

    Attributes:
        flow_name: The flow's name on the server.
        name: The deployment's name.
        fields: Prefect's fields; `None` for an optional one that nobody mentioned.
        schedules: The fields of each schedule, by slug: `rule`, `active`, `parameters`.
    """

    flow_name: str
    name: str
    fields: Mapping[str, object]
    schedules: Mapping[str, Mapping[str, JsonValue]]

    @property
    def key(self) -> str:
        """The full name that Prefect uses, `flow/deployment`."""
        return f"{self.flow_name}/{self.name}"

    @property
    def starts_runs(self) -> bool:
        """Whether a schedule would start runs once this is created."""
        return not self.fields.get("paused") and any(s["active"] for s in self.schedules.values())


def define(spec: DeploymentSpec, pull: tuple[PullStep, ...], facts: FlowFacts) -> Definition:
    """Complete a deployment's declaration with its flow's name, description, version and parameters.

    Args:
        spec: What the file says.
        pull: The pull steps to store, with the access token's placeholder when there is one.
        facts: What importing the entrypoint told.

    Raises:
        FlowError: The file and the flow contradict each other.
    """
    if spec.flow_name and spec.flow_name != facts.name:
        raise FlowError(
            f"Deployment {spec.name!r} ({spec.file}:{spec.line}) expects the flow {spec.flow_name!r}, "
            f"but {spec.entrypoint} is the flow {facts.name!r}."
        )
    _check_parameters(spec, facts)
    fields: dict[str, object] = {
        "entrypoint": spec.entrypoint,
        "description": spec.description or facts.description,
        "version": spec.version or facts.version,
        "tags": list(spec.tags),
        "parameters": spec.parameters,
        "enforce_parameter_schema": spec.enforce_parameter_schema,
        "parameter_openapi_schema": facts.parameter_schema,
        "pull_steps": [step.as_prefect() for step in pull],
        "work_pool_name": spec.work_pool,
        "work_queue_name": spec.work_queue,
        "job_variables": spec.job_variables,
        "concurrency_limit": spec.concurrency_limit,
        "concurrency_options": spec.concurrency_options,
        "paused": spec.paused,
    }
    schedules: dict[str, dict[str, JsonValue]] = {
        schedule.slug: {
            "rule": schedule.rule,
            "active": schedule.active,
            "parameters": schedule.parameters,
        }
        for schedule in spec.schedules
    }
    return Definition(facts.name, spec.name, fields, schedules)


def parameter_sets(spec: DeploymentSpec) -> dict[str, dict[str, JsonValue]]:
    """List the sets of parameters that the file gives, each under its name in messages."""
    sets = {"": spec.parameters}
    return sets | {f" of schedule {schedule.slug!r}": schedule.parameters for schedule in spec.schedules}


def _check_parameters(spec: DeploymentSpec, facts: FlowFacts) -> None:
    if not spec.enforce_parameter_schema:
        return
    for name, reason in zip(parameter_sets(spec), facts.parameter_errors, strict=True):
        if reason is not None:
            raise FlowError(
                f"The parameters{name} of deployment {spec.name!r} ({spec.file}:{spec.line}) "
                f"do not fit its flow: {reason}."
            )
