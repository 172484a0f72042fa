"""Writes objects of each kind to the server, exactly as their plan says, through Prefect's client."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from yeedu_deployer.applied.ticks import kept_ticks
from yeedu_deployer.declared.schedules import to_prefect_schedule
from yeedu_deployer.planned.plan import Outcome, Plan
from yeedu_deployer.planned.pools import VARIABLE_PREFIX
from yeedu_deployer.server import explained, write_block
from yeedu_deployer.state import Kind

# Always sent together, since for Prefect a pool without a queue means the pool's default queue.
POOL_FIELDS = ("work_pool_name", "work_queue_name")
DONE = {Outcome.TO_CREATE: "created", Outcome.TO_CHANGE: "changed", Outcome.TO_PRUNE: "deleted"}


def write(client: SyncPrefectClient, plan: Plan) -> str:
    """Apply a plan, leaving an unchanged object alone; return the object's id.

    If the server refuses a part, earlier parts stay applied.
    """
    observed = plan.observed.id if plan.observed else ""
    if plan.action not in DONE:
        return observed
    who = "It" if plan.place and plan.kind is Kind.DEPLOYMENT else f"The {plan.kind} {plan.name!r}"
    what = f"{who} could not be {DONE[plan.action]}"
    with explained(what, quote_answer=plan.kind is not Kind.BLOCK):
        if plan.desired is not None:
            return WRITERS[plan.kind](client, plan) or observed
        with suppress(ObjectNotFound):  # deleted along with something removed earlier
            remove = client.delete_deployment if plan.kind is Kind.DEPLOYMENT else client.delete_automation
            remove(UUID(observed))
    return observed


def _write_block(_: SyncPrefectClient, plan: Plan) -> str:
    return write_block(plan.identity["type"], plan.name, plan.value("value"))


def _write_block_type(_: SyncPrefectClient, plan: Plan) -> None:
    plan.identity["class"].register_type_and_schema()


def _write_pool(client: SyncPrefectClient, plan: Plan) -> str | None:
    """Create a pool from its type's template, or update it; what a template has beside our defaults stays."""
    if plan.observed is None:
        own = {name: plan.value(name) for name in ("description", "concurrency_limit")}
        return str(client.create_work_pool(WorkPoolCreate(name=plan.name, **plan.identity, **own)).id)
    values = {one.field: one.new for one in plan.changes if not one.field.startswith(VARIABLE_PREFIX)}
    if len(values) < len(plan.changes):
        values["base_job_template"] = plan.identity["base_job_template"]
    client.update_work_pool(plan.name, WorkPoolUpdate.model_validate(values))
    return None


def _write_automation(client: SyncPrefectClient, plan: Plan) -> str | None:
    if plan.observed is None:
        core = AutomationCore.model_validate({**(plan.desired or {}), **plan.identity})
        return str(client.create_automation(core))
    values = {**plan.observed.fields, **{change.field: change.new for change in plan.changes}}
    client.update_automation(UUID(plan.observed.id), AutomationCore.model_validate(values))
    return None


def _write_deployment(client: SyncPrefectClient, plan: Plan) -> str | None:
    """Write a deployment and its schedules without losing or doubling a tick."""
    if plan.observed is None:
        values = {name: value for name, value in (plan.desired or {}).items() if value is not None}
        return str(
            client.create_deployment(
                flow_id=client.create_flow_from_name(plan.identity["flow_name"]),
                name=plan.name,
                schedules=[_schedule(part) for part in plan.parts],
                **values,
            )
        )
    deployment_id = UUID(plan.observed.id)
    with kept_ticks(client, deployment_id):
        if plan.changes:
            values: dict[str, Any] = {change.field: change.new for change in plan.changes}
            if any(field in values for field in POOL_FIELDS):
                values |= {field: plan.value(field) for field in POOL_FIELDS}
            client.update_deployment(deployment_id, DeploymentUpdate(**values))
        for part in plan.parts:
            _write_schedule(client, deployment_id, part)
    return None


def _write_schedule(client: SyncPrefectClient, deployment_id: UUID, plan: Plan) -> None:
    if plan.observed is None:
        client.create_deployment_schedules(deployment_id, [_schedule(plan)])
    elif plan.desired is None:
        client.delete_deployment_schedule(deployment_id, UUID(plan.observed.id))
    elif plan.changes:
        # Prefect clears a schedule's parameters if an update does not name them.
        values: dict[str, Any] = {"parameters": plan.value("parameters", old=True)}
        values |= {change.field: change.new for change in plan.changes}
        if rule := values.pop("rule", None):
            there = plan.value("rule", old=True)
            if "interval" in rule and "anchor_date" in there:
                rule = {"anchor_date": there["anchor_date"], **rule}  # keeps the phase of its ticks
            values["schedule"] = to_prefect_schedule(rule)
        client.update_deployment_schedule(deployment_id, UUID(plan.observed.id), **values)


def _schedule(plan: Plan) -> DeploymentScheduleCreate:
    fields = plan.desired or {}
    return DeploymentScheduleCreate(
        schedule=to_prefect_schedule(fields["rule"]),
        active=fields["active"],
        parameters=fields["parameters"],
        slug=plan.key,
    )


WRITERS: dict[Kind, Callable[[SyncPrefectClient, Plan], str | None]] = {
    Kind.BLOCK: _write_block,
    Kind.BLOCK_TYPE: _write_block_type,
    Kind.POOL: _write_pool,
    Kind.AUTOMATION: _write_automation,
    Kind.DEPLOYMENT: _write_deployment,
}
