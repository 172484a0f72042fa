"""Deployments on the server: read as plain fields, and written one by one through the client."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from yeedu_deployer.declared.schedules import says_the_same, to_prefect_schedule
from yeedu_deployer.planned.definition import Definition
from yeedu_deployer.planned.plan import (
    Action,
    DeploymentPlan,
    ObservedDeployment,
    ObservedSchedule,
    ScheduleChange,
)
from yeedu_deployer.planned.ticks import kept_ticks
from yeedu_deployer.server import explained

# Prefect takes these two together: a pool without a queue means the pool's default queue.
POOL_FIELDS = ("work_pool_name", "work_queue_name")
# What the scheduler copies into the runs that it makes, or obeys.
RUN_FIELDS = ("parameters", "tags", "version", "paused", *POOL_FIELDS)


def observe(client: SyncPrefectClient, definition: Definition) -> ObservedDeployment | None:
    """Read the deployment that a definition is about, or None when there is none.

    Raises:
        ServerError: The server cannot be read.
    """
    with explained(f"The deployment {definition.key!r} could not be read"):
        try:
            found = client.read_deployment_by_name(definition.key)
        except ObjectNotFound:
            return None
    return ObservedDeployment(
        found.id,
        _observed_fields(found),
        tuple(
            ObservedSchedule(
                schedule.id,
                schedule.slug,
                _observed_schedule(schedule, definition.schedules.get(schedule.slug or "")),
            )
            for schedule in found.schedules
        ),
    )


def apply_deployment(client: SyncPrefectClient, plan: DeploymentPlan) -> UUID:
    """Do what a plan says, and nothing for an unchanged deployment.

    Returns:
        The deployment's id.

    Raises:
        ServerError: The server refused a part; earlier parts stay applied.
    """
    with explained(f"The deployment {plan.definition.name!r} could not be written"):
        if plan.observed is None:
            return _create(client, plan.definition)
        if plan.action is Action.UNCHANGED:
            return plan.observed.id
        with kept_ticks(client, plan.observed.id):
            if plan.fields:
                client.update_deployment(plan.observed.id, DeploymentUpdate(**_update_values(plan)))
            for change in plan.schedules:
                _apply_schedule(client, plan.observed.id, plan.definition, change)
        return plan.observed.id


def makes_runs_stale(plan: DeploymentPlan) -> bool:
    """Tell whether a plan changes what the scheduler writes into its runs, or when they are due."""
    return bool(plan.schedules) or any(change.field in RUN_FIELDS for change in plan.fields)


def read_id(client: SyncPrefectClient, key: str) -> UUID | None:
    """Read the id of the deployment `flow/name`, or None when there is none.

    Raises:
        ServerError: The server cannot be read.
    """
    with explained(f"The deployment {key!r} could not be read"):
        try:
            return client.read_deployment_by_name(key).id
        except ObjectNotFound:
            return None


def delete_deployment(client: SyncPrefectClient, deployment_id: UUID, name: str) -> None:
    """Delete a deployment and its scheduled runs; runs that have begun stay.

    Raises:
        ServerError: The server refused it.
    """
    with explained(f"The deployment {name!r} could not be deleted"):
        client.delete_deployment(deployment_id)


def start_first_run(
    client: SyncPrefectClient, deployment_id: UUID, name: str, after_seconds: float = 0
) -> UUID:
    """Start a run soon, so that the UI shows life at once; a deployment gets at most one such run.

    Returns:
        The run's id.

    Raises:
        ServerError: The server refused it.
    """
    with explained(f"The first run of {name!r} could not be started"):
        run = client.create_flow_run_from_deployment(
            deployment_id,
            state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(seconds=after_seconds)),
            idempotency_key=f"first-run-{deployment_id}",
        )
        return run.id


def _create(client: SyncPrefectClient, definition: Definition) -> UUID:
    values = {name: value for name, value in definition.fields.items() if value is not None}
    schedules = [_schedule_to_create(slug, fields) for slug, fields in definition.schedules.items()]
    # The values were read and checked field by field; the client validates them once more.
    return client.create_deployment(
        flow_id=client.create_flow_from_name(definition.flow_name),
        name=definition.name,
        schedules=schedules,
        **cast("dict[str, Any]", values),
    )


def _update_values(plan: DeploymentPlan) -> dict[str, Any]:
    values: dict[str, Any] = {change.field: change.new for change in plan.fields}
    if any(field in values for field in POOL_FIELDS):
        values |= {field: plan.definition.fields[field] for field in POOL_FIELDS}
    return values


def _apply_schedule(
    client: SyncPrefectClient, deployment_id: UUID, definition: Definition, change: ScheduleChange
) -> None:
    if change.id is None:
        fields = definition.schedules[change.slug]
        client.create_deployment_schedules(deployment_id, [_schedule_to_create(change.slug, fields)])
    elif change.action is Action.REMOVE:
        client.delete_deployment_schedule(deployment_id, change.id)
    else:
        values: dict[str, Any] = {field.field: field.new for field in change.fields}
        if "rule" in values:
            values["schedule"] = to_prefect_schedule(values.pop("rule"))
        client.update_deployment_schedule(deployment_id, change.id, **values)


def _schedule_to_create(slug: str, fields: Mapping[str, Any]) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=to_prefect_schedule(fields["rule"]),
        active=fields["active"],
        parameters=fields["parameters"],
        slug=slug,
    )


def _observed_fields(found: DeploymentResponse) -> dict[str, object]:
    limit = found.global_concurrency_limit
    options = found.concurrency_options
    return {
        "entrypoint": found.entrypoint,
        "description": found.description,
        "version": found.version,
        "tags": found.tags,
        "parameters": found.parameters,
        "enforce_parameter_schema": found.enforce_parameter_schema,
        "parameter_openapi_schema": found.parameter_openapi_schema,
        "pull_steps": found.pull_steps,
        "work_pool_name": found.work_pool_name,
        "work_queue_name": found.work_queue_name,
        "job_variables": found.job_variables,
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": options.model_dump(mode="json", exclude_unset=True) if options else None,
        "paused": found.paused,
    }


def _observed_schedule(found: DeploymentSchedule, desired: Mapping[str, Any] | None) -> dict[str, object]:
    """Read a schedule, its rule reduced to what the file mentions, so that defaults are no difference."""
    rule: dict[str, Any] = found.schedule.model_dump(mode="json")
    if desired and says_the_same(desired["rule"], rule):
        rule = desired["rule"]
    return {"rule": rule, "active": found.active, "parameters": found.parameters}
