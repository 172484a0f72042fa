"""What has to be done to the automations: alerts of the platform, and the triggers of deployments."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation

from yeedu_deployer.declared.automation_spec import AutomationSpec, as_json
from yeedu_deployer.declared.models import TRIGGER
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.planned.blocks import NOTIFICATION_BLOCKS
from yeedu_deployer.planned.plan import Observed, Plan, plan_object, stand_in
from yeedu_deployer.server import all_pages, explained, find_block
from yeedu_deployer.state import Applied, Kind

ALERTS = "alerts"
TRIGGERS = "triggers of"


@dataclass(frozen=True)
class AutomationPlanner:
    """Plans automations.

    Attributes:
        client: An open client.
        applied: What was last applied, by key.
        prunes: Whether what was dropped is deleted.
    """

    client: SyncPrefectClient
    applied: Mapping[str, Applied]
    prunes: bool = True

    def alerts(self, specs: Sequence[AutomationSpec], blocks: Mapping[str, Plan]) -> Iterator[Plan]:
        """Plan the platform's own automations; one without any action is left out.

        Args:
            specs: As the file declares them.
            blocks: The blocks that are planned, by name; alerts are sent through some of them.
        """
        targets: list[str] = []
        needs: list[tuple[Kind, str]] = []
        for kind, name in NOTIFICATION_BLOCKS.items():
            if name in blocks and blocks[name].observed is None:
                needs.append((Kind.BLOCK, name))
                targets.append(stand_in(Kind.BLOCK, name))
            elif found := find_block(self.client, kind, name):
                targets.append(str(found.id))
        plans: list[Plan] = []
        for spec in specs:
            actions = list(spec.actions)
            if spec.notify:
                actions += [
                    as_json(SendNotification.model_validate({"block_document_id": target, **spec.notify}))
                    for target in targets
                ]
            if actions:
                automation = replace(spec, actions=tuple(actions))
                plans.append(_desired(automation, ALERTS, ALERTS, needs if spec.notify else ()))
        yield from self._compared(plans, ALERTS, ())

    def triggers(
        self, deployments: Iterable[tuple[DeploymentSpec, Plan]], project: str, broken: Collection[str]
    ) -> Iterator[Plan]:
        """Plan the automations of the deployments' triggers, each owned by its deployment, as Prefect does.

        Args:
            deployments: The deployments that can be applied; their triggers were found valid when read.
            project: The file's `name`.
            broken: Names of the deployments that cannot be applied, whose automations stay.
        """
        scope = f"{TRIGGERS} {project}"
        plans: list[Plan] = []
        for spec, deployment in deployments:
            there, reference = deployment.observed, (deployment.kind, deployment.key)
            owner = there.id if there else stand_in(*reference)
            for values in spec.triggers:
                trigger = TRIGGER.validate_python(values)
                trigger.set_deployment_id(UUID(owner))
                core = trigger.as_automation()
                automation = AutomationSpec(
                    name=core.name,
                    description=core.description,
                    is_enabled=core.enabled,
                    trigger=as_json(core.trigger),
                    actions=tuple(as_json(action) for action in core.actions),
                    owner=core.owner_resource,
                )
                needs = () if there else (reference,)
                plan = _desired(automation, deployment.key, scope, needs)
                plans.append(replace(plan, place=deployment.place))
        yield from self._compared(plans, scope, broken)

    def _compared(self, plans: Sequence[Plan], scope: str, broken: Collection[str]) -> Iterator[Plan]:
        known = {key: one for key, one in self.applied.items() if self.prunes and one.scope == scope}
        if not plans and not known:
            return
        with explained("The automations could not be read"):
            present = {str(one.id): one for one in all_pages(self.client.read_automations)}
        whole = [self._compare(plan, present) for plan in plans]
        yield from whole
        taken = {plan.observed.id for plan in whole if plan.observed}
        for key, applied in known.items():
            owner, _, name = key.partition("|")
            # Format 1 of the state did not know whose a trigger was.
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
        if applied is None:  # as format 1 of the state calls it
            former = self.applied.get(f"{plan.scope}|{plan.name}")
            applied = former if former and former.id == str(there.id) else None
        fields = there.model_dump(mode="json", exclude={"id", "owner_resource"})
        observed = Observed(str(there.id), {**fields, "trigger": as_json(there.trigger)})
        return plan_object(replace(plan, observed=observed), applied)

    def _of_that_name(self, plan: Plan, present: Mapping[str, Automation]) -> Automation | None:
        """Find what an earlier run made, in case that its state is lost."""
        candidates: Iterable[Automation] = present.values()
        owner = plan.identity["owner_resource"]
        if owner:
            with explained(f"The automations of {owner} could not be read"):
                candidates = () if plan.needs else self.client.read_resource_related_automations(owner)
        return next((one for one in candidates if one.name == plan.name), None)


def _desired(spec: AutomationSpec, owner: str, scope: str, needs: Sequence[tuple[Kind, str]]) -> Plan:
    fields = {
        "name": spec.name,
        "description": spec.description,
        "enabled": spec.is_enabled,
        "trigger": spec.trigger,
        "actions": list(spec.actions),
    }
    return Plan(
        Kind.AUTOMATION,
        f"{owner}|{spec.name}",
        spec.name,
        fields,
        identity={"owner_resource": spec.owner},
        scope=scope,
        needs=tuple(needs),
    )
