"""The triggers of a deployment as prefect.yaml declares them: each is an automation that starts a run."""

from typing import Any

from prefect.events.schemas.deployment_triggers import (
    DeploymentCompoundTrigger,
    DeploymentEventTrigger,
    DeploymentMetricTrigger,
    DeploymentSequenceTrigger,
    DeploymentTriggerTypes,
)
from pydantic import JsonValue, TypeAdapter, ValidationError

from yeedu_deployer.declared.automation_spec import first_reason
from yeedu_deployer.declared.section import Section

TRIGGER: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)
TYPES = (
    DeploymentEventTrigger,
    DeploymentMetricTrigger,
    DeploymentCompoundTrigger,
    DeploymentSequenceTrigger,
)
TRIGGER_KEYS = tuple(sorted({key for model in TYPES for key in model.model_fields}))


def read_triggers(deployment: Section, where: str, name: str) -> tuple[dict[str, JsonValue], ...]:
    """Read and check `triggers`; problems go to the section's collector.

    Returns:
        Each trigger with its name, by default the one that Prefect gives it.
    """
    found: list[dict[str, JsonValue]] = []
    for number, section in enumerate(deployment.sections("triggers", f"{where}: trigger"), start=1):
        section.check_keys(TRIGGER_KEYS)
        values = section.plain(section.node)
        if not isinstance(values, dict):
            continue
        values = {"name": f"{name}__automation_{number}", **values}
        if any(other["name"] == values["name"] for other in found):
            section.problems.add(
                section.line_of("name"), f"{section.where}: the name {values['name']!r} is taken already."
            )
        try:
            TRIGGER.validate_python(values)
        except ValidationError as error:
            section.problems.add(section.node.line, f"{section.where}: {first_reason(error)}")
            continue
        found.append(values)
    return tuple(found)
