"""Plans the automations: the platform's alerts and the deployments' triggers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore
from pydantic import BaseModel, JsonValue

from yeedu_deployer.declared.models import TRIGGER
from yeedu_deployer.declared.platform_files import Alert
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.planned.blocks import NOTIFICATION_BLOCKS
from yeedu_deployer.planned.plan import Observed, Plan, plan_object, stand_in
from yeedu_deployer.server import all_pages, explained, find_block
from yeedu_deployer.state import Applied, Kind

ALERTS = "alerts"
TRIGGERS = "triggers of"


@dataclass(frozen=True)
class AutomationPlanner:
    """Plans automations; deletes what was dropped if it `prunes`."""

    client: SyncPrefectClient
    applied: Mapping[str, Applied]
    prunes: bool = True

    def alerts(self, declared: Sequence[Alert], blocks: Mapping[str, Plan]) -> Iterator[Plan]:
        """Plan the platform's own automations, sent through `blocks`; leave out those without any action."""
        targets: list[str] = []
        needs: list[tuple[Kind, str]] = []
        for kind, name in NOTIFICATION_BLOCKS.items():
            if name in blocks and blocks[name].observed is None:
                needs.append((Kind.BLOCK, name))
                targets.append(stand_in(Kind.BLOCK, name))
            elif found := find_block(self.client, kind, name):
                targets.append(str(found.id))
        plans: list[Plan] = []
        for one in declared:
            told = one.notify.model_dump(exclude_none=True) if one.notify else {}
            sent = [SendNotification.model_validate({"block_document_id": to, **told}) for to in targets]
            if actions := [*one.actions, *(sent if one.notify else ())]:
                fields = dict(one) | {"actions": actions}
                core = AutomationCore.model_validate(fields)
                plans.append(_desired(core, ALERTS, ALERTS, needs if one.notify else ()))
        yield from self._compared(plans, ALERTS, ())

    def triggers(
        self, deployments: Iterator[tuple[DeploymentSpec, Plan]], project: str, broken: Collection[str]
    ) -> Iterator[Plan]:
        """Plan the automations of the deployments' triggers, each owned by its deployment, as in Prefect.

        `project` is the file's `name`. Automations of `broken` deployments, which cannot be applied, stay; if
        the file has no name, so do those of deployments that are not in it.
        """
        scope = f"{TRIGGERS} {project}"
        plans: list[Plan] = []
        owners = set[str]()
        for spec, deployment in deployments:
            owners.add(deployment.key)
            there, reference = deployment.observed, (deployment.kind, deployment.key)
            for values in spec.says.triggers:
                trigger = TRIGGER.validate_python(values)
                trigger.set_deployment_id(UUID(there.id if there else stand_in(*reference)))
                plan = _desired(trigger.as_automation(), deployment.key, scope, () if there else (reference,))
                plans.append(replace(plan, place=deployment.place))
        yield from self._compared(plans, scope, broken, None if project else owners)

    def _compared(
        self,
        plans: Sequence[Plan],
        scope: str,
        broken: Collection[str],
        owners: Collection[str] | None = None,
    ) -> Iterator[Plan]:
        """Compare with what was applied in this scope, for these owners if they are given."""
        known = {
            key: one
            for key, one in self.applied.items()
            if self.prunes and one.scope == scope and (owners is None or key.partition("|")[0] in owners)
        }
        if not plans and not known:
            return
        with explained("The automations could not be read"):
            present = {str(one.id): one for one in all_pages(self.client.read_automations)}
        whole = [self._compare(plan, present) for plan in plans]
        yield from whole
        taken = {plan.observed.id for plan in whole if plan.observed}
        for key, applied in known.items():
            owner, _, name = key.partition("|")
            # Format 1 of the state did not record a trigger's owner.
            is_broken = bool(broken) if owner == scope else owner.partition("/")[2] in broken
            if not is_broken and all(plan.key != key for plan in plans):
                is_ours = applied.created and applied.id in present and applied.id not in taken
                observed = Observed(applied.id, {}) if is_ours else None
                yield Plan(Kind.AUTOMATION, key, name, None, observed, detail="no longer declared")

    def _compare(self, plan: Plan, present: Mapping[str, Automation]) -> Plan:
        applied = self.applied.get(plan.key)
        there = present.get(applied.id) if applied else self._of_that_name(plan, present)
        if there is None:
            return plan
        if applied is None:  # by its key in format 1 of the state
            former = self.applied.get(f"{plan.scope}|{plan.name}")
            applied = former if former and former.id == str(there.id) else None
        fields = {
            name: value for name, value in as_json(there).items() if name not in ("id", "owner_resource")
        }
        return plan_object(replace(plan, observed=Observed(str(there.id), fields)), applied)

    def _of_that_name(self, plan: Plan, present: Mapping[str, Automation]) -> Automation | None:
        """Find an automation made by an earlier run whose state is lost, by its name."""
        candidates: list[Automation] = list(present.values())
        if owner := plan.identity["owner_resource"]:
            with explained(f"The automations of {owner} could not be read"):
                candidates = [] if plan.needs else self.client.read_resource_related_automations(owner)
        return next((one for one in candidates if one.name == plan.name), None)


def _desired(core: AutomationCore, owner: str, scope: str, needs: Sequence[tuple[Kind, str]]) -> Plan:
    values = as_json(core)
    return Plan(
        Kind.AUTOMATION,
        f"{owner}|{core.name}",
        core.name,
        {name: values[name] for name in ("name", "description", "enabled", "trigger", "actions")},
        identity={"owner_resource": core.owner_resource},
        scope=scope,
        needs=tuple(needs),
    )


def as_json(model: BaseModel) -> dict[str, JsonValue]:
    """Return a model as JSON, with Prefect's sets in a stable order and lists in their own."""
    values: dict[str, Any] = model.model_dump(mode="json")
    for name, value in model:
        if isinstance(value, set | frozenset):
            values[name] = sorted(values[name])
        elif isinstance(value, BaseModel) and isinstance(values[name], dict):
            values[name] = as_json(value)
        elif isinstance(value, list | tuple):
            items = cast("list[Any]", value)
            if any(isinstance(item, BaseModel) for item in items):
                values[name] = [as_json(item) if isinstance(item, BaseModel) else item for item in items]
    return values
