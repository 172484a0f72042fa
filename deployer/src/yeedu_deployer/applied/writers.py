"""How objects of each kind are written: exactly what their plan says, one by one through Prefect's client."""

from abc import ABC, abstractmethod
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
from yeedu_deployer.planned.plan import Action, Plan
from yeedu_deployer.planned.pools import VARIABLE_PREFIX
from yeedu_deployer.server import explained, write_block
from yeedu_deployer.state import Kind

# Prefect takes these two together: a pool without a queue means the pool's default queue.
POOL_FIELDS = ("work_pool_name", "work_queue_name")
DONE = {Action.CREATE: "created", Action.CHANGE: "changed", Action.REMOVE: "deleted"}


class Writer(ABC):
    """Writes objects of one kind."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client

    def write(self, plan: Plan) -> str:
        """Do what a plan says, and nothing for an unchanged object.

        Returns:
            The object's id.

        Raises:
            ServerError: The server refused a part; earlier parts stay applied.
        """
        observed = plan.observed.id if plan.observed else ""
        if plan.action not in DONE:
            return observed
        who = "It" if plan.place and plan.kind is Kind.DEPLOYMENT else f"The {plan.kind} {plan.name!r}"
        what = f"{who} could not be {DONE[plan.action]}"
        with explained(what, quote_answer=plan.kind is not Kind.BLOCK):
            if plan.action is Action.CREATE:
                return self.create(plan)
            if plan.action is Action.CHANGE:
                self.change(plan)
            else:
                with suppress(ObjectNotFound):  # it went with something that was removed before
                    self.remove(plan)
        return observed

    @abstractmethod
    def create(self, plan: Plan) -> str:
        """Make the object, and return its id."""

    @abstractmethod
    def change(self, plan: Plan) -> None:
        """Write the changed fields."""

    def remove(self, plan: Plan) -> None:
        """Delete the object."""
        raise NotImplementedError(plan.kind)


class BlockWriter(Writer):
    """Writes blocks."""

    def create(self, plan: Plan) -> str:
        """Make or replace the block."""
        return write_block(plan.identity["type"], plan.name, plan.value("value"))

    def change(self, plan: Plan) -> None:
        """Replace the block."""
        self.create(plan)


class BlockTypeWriter(Writer):
    """Registers block types."""

    def create(self, plan: Plan) -> str:
        """Register the type with its fields."""
        plan.identity["class"].register_type_and_schema()
        return ""

    def change(self, plan: Plan) -> None:
        """Register its fields."""
        self.create(plan)


class PoolWriter(Writer):
    """Writes work pools; what a base job template holds besides our defaults stays."""

    def create(self, plan: Plan) -> str:
        """Make the pool with the template of its type."""
        own = {name: plan.value(name) for name in ("description", "concurrency_limit")}
        pool = WorkPoolCreate(name=plan.name, **plan.identity, **own)
        return str(self.client.create_work_pool(pool).id)

    def change(self, plan: Plan) -> None:
        """Write the changed fields."""
        values: dict[str, Any] = {
            one.field: one.new for one in plan.changes if not one.field.startswith(VARIABLE_PREFIX)
        }
        if len(values) < len(plan.changes):
            values["base_job_template"] = plan.identity["base_job_template"]
        self.client.update_work_pool(plan.name, WorkPoolUpdate(**values))


class AutomationWriter(Writer):
    """Writes automations."""

    def create(self, plan: Plan) -> str:
        """Make the automation."""
        model = AutomationCore.model_validate({**(plan.desired or {}), **plan.identity})
        return str(self.client.create_automation(model))

    def change(self, plan: Plan) -> None:
        """Write the changed fields, with the others as they are."""
        values = {**(plan.observed.fields if plan.observed else {})}
        values |= {change.field: change.new for change in plan.changes}
        self.client.update_automation(_id(plan), AutomationCore.model_validate(values))

    def remove(self, plan: Plan) -> None:
        """Delete the automation."""
        self.client.delete_automation(_id(plan))


class DeploymentWriter(Writer):
    """Writes deployments and their schedules; no tick is lost or doubled meanwhile."""

    def create(self, plan: Plan) -> str:
        """Make the deployment with its schedules."""
        values = {name: value for name, value in (plan.desired or {}).items() if value is not None}
        return str(
            self.client.create_deployment(
                flow_id=self.client.create_flow_from_name(plan.identity["flow_name"]),
                name=plan.name,
                schedules=[_schedule(part) for part in plan.parts],
                **values,
            )
        )

    def change(self, plan: Plan) -> None:
        """Write the changed fields and schedules."""
        deployment_id = _id(plan)
        with kept_ticks(self.client, deployment_id):
            if plan.changes:
                values: dict[str, Any] = {change.field: change.new for change in plan.changes}
                if any(field in values for field in POOL_FIELDS):
                    values |= {field: plan.value(field) for field in POOL_FIELDS}
                self.client.update_deployment(deployment_id, DeploymentUpdate(**values))
            for part in plan.parts:
                self._write_schedule(deployment_id, part)

    def remove(self, plan: Plan) -> None:
        """Delete the deployment and its scheduled runs; runs that have begun stay."""
        self.client.delete_deployment(_id(plan))

    def _write_schedule(self, deployment_id: UUID, plan: Plan) -> None:
        if plan.action is Action.CREATE:
            self.client.create_deployment_schedules(deployment_id, [_schedule(plan)])
        elif plan.action is Action.REMOVE:
            self.client.delete_deployment_schedule(deployment_id, _id(plan))
        elif plan.action is Action.CHANGE:
            # Prefect empties the parameters of a schedule whose change does not name them.
            values: dict[str, Any] = {"parameters": plan.value("parameters", old=True)}
            values |= {change.field: change.new for change in plan.changes}
            if rule := values.pop("rule", None):
                there = plan.value("rule", old=True)
                if "interval" in rule and "anchor_date" in there:
                    rule = {"anchor_date": there["anchor_date"], **rule}  # ticks stay in their rhythm
                values["schedule"] = to_prefect_schedule(rule)
            self.client.update_deployment_schedule(deployment_id, _id(plan), **values)


WRITERS: dict[Kind, type[Writer]] = {
    Kind.BLOCK: BlockWriter,
    Kind.BLOCK_TYPE: BlockTypeWriter,
    Kind.POOL: PoolWriter,
    Kind.AUTOMATION: AutomationWriter,
    Kind.DEPLOYMENT: DeploymentWriter,
}


def _id(plan: Plan) -> UUID:
    return UUID(plan.observed.id if plan.observed else "")


def _schedule(plan: Plan) -> DeploymentScheduleCreate:
    fields = plan.desired or {}
    return DeploymentScheduleCreate(
        schedule=to_prefect_schedule(fields["rule"]),
        active=fields["active"],
        parameters=fields["parameters"],
        slug=plan.key,
    )
