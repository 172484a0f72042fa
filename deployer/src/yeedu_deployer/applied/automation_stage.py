"""Brings the automations to the desired state: alerts of the platform, and the triggers of deployments."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore

from yeedu_deployer.applied.stage import Stage
from yeedu_deployer.applied.typed_blocks import block_id
from yeedu_deployer.declared.automation_spec import AutomationSpec, as_json
from yeedu_deployer.declared.models import TRIGGER
from yeedu_deployer.errors import DeployerError
from yeedu_deployer.planned.credentials import NOTIFICATION_BLOCKS
from yeedu_deployer.planned.diff import FieldChange, changed_fields, fingerprints
from yeedu_deployer.planned.plan import Action
from yeedu_deployer.report import Outcome
from yeedu_deployer.server import all_pages, explained
from yeedu_deployer.state import AppliedAutomation

# A block that the same run is going to create has no id yet; a plan shows this instead.
NOT_YET = "00000000-0000-0000-0000-000000000000"
KIND = "automation"


def notification_targets(stage: Stage, planned: Sequence[str]) -> tuple[str, ...]:
    """List the ids of the blocks that alerts are sent through.

    Args:
        stage: What this run of the deployer shares.
        planned: Names of the blocks that are configured, whether they exist already or not.
    """
    found = [(name, block_id(stage.client, kind, name)) for kind, name in NOTIFICATION_BLOCKS.items()]
    return tuple(there or NOT_YET for name, there in found if there or name in planned)


def with_notifications(specs: Sequence[AutomationSpec], targets: Sequence[str]) -> list[AutomationSpec]:
    """Turn every `notify` into an action for each target; an automation without any action is left out."""
    whole: list[AutomationSpec] = []
    for spec in specs:
        actions = list(spec.actions)
        if spec.notify:
            actions += [
                as_json(SendNotification.model_validate({"block_document_id": target, **spec.notify}))
                for target in targets
            ]
        if actions:
            whole.append(replace(spec, actions=tuple(actions)))
    return whole


def trigger_automations(
    triggers: Sequence[Mapping[str, object]], deployment_id: UUID | None
) -> list[AutomationSpec]:
    """Form the automations of one deployment's triggers, each owned by the deployment, as Prefect does.

    Args:
        triggers: As the file declares them; they were found valid when it was read.
        deployment_id: Its id; `None` for one that is only planned.
    """
    found: list[AutomationSpec] = []
    for values in triggers:
        trigger = TRIGGER.validate_python(values)
        trigger.set_deployment_id(deployment_id or UUID(NOT_YET))
        core = trigger.as_automation()
        found.append(
            AutomationSpec(
                name=core.name,
                description=core.description,
                is_enabled=core.enabled,
                trigger=as_json(core.trigger),
                actions=tuple(as_json(action) for action in core.actions),
                owner=core.owner_resource,
            )
        )
    return found


def bring_automations(
    stage: Stage,
    specs: Sequence[AutomationSpec],
    scope: str,
    untouched: Collection[str] = (),
    *,
    prunes: bool = True,
) -> None:
    """Create and change the declared automations, and delete those that were dropped.

    Args:
        stage: What this run of the deployer shares.
        specs: The automations as they should be.
        scope: Whose automations these are; only what was applied in the same scope is deleted.
        untouched: Names of those that are declared but cannot be applied this time.
        prunes: Whether what was dropped is deleted.
    """
    known = [key for key, applied in stage.memory.automations.items() if prunes and applied.scope == scope]
    if not specs and not known:
        return
    with explained("The automations could not be read"):
        present = {str(one.id): one for one in all_pages(stage.client.read_automations)}
    for spec in specs:
        try:
            _bring_one(stage, spec, scope, present)
        except DeployerError as error:
            stage.report.fail(KIND, spec.name, error)
    declared = {_key(scope, name) for name in (*(spec.name for spec in specs), *untouched)}
    for key in known:
        if key not in declared:
            _remove(stage, key, stage.memory.automations[key], present)


def _bring_one(stage: Stage, spec: AutomationSpec, scope: str, present: Mapping[str, Automation]) -> None:
    key, desired = _key(scope, spec.name), _fields(spec)
    applied = stage.memory.automations.get(key)
    there = present.get(applied.id) if applied else _of_that_name(stage.client, spec, present)
    if there is None:
        automation_id = None if stage.plan_only else _create(stage.client, spec, desired)
        stage.tell(KIND, spec.name, Action.CREATE)
        created = True
    else:
        observed = _observed(there)
        changes = changed_fields(desired, observed, applied.fields if applied else {})
        if changes and not stage.plan_only:
            _change(stage.client, there, changes)
        _tell(stage, spec.name, desired, observed, changes)
        automation_id, created = there.id, bool(applied and applied.created)
    if automation_id:
        stage.memory.automations[key] = AppliedAutomation(
            id=str(automation_id), scope=scope, created=created, fields=fingerprints(desired)
        )


def _of_that_name(
    client: SyncPrefectClient, spec: AutomationSpec, present: Mapping[str, Automation]
) -> Automation | None:
    """Find what an earlier run made, in case that its memory is lost."""
    candidates: Iterable[Automation] = present.values()
    if spec.owner:
        with explained(f"The automations of {spec.owner} could not be read"):
            candidates = client.read_resource_related_automations(spec.owner)
    return next((one for one in candidates if one.name == spec.name), None)


def _create(client: SyncPrefectClient, spec: AutomationSpec, values: Mapping[str, object]) -> UUID:
    with explained(f"The automation {spec.name!r} could not be created"):
        model = AutomationCore.model_validate({**values, "owner_resource": spec.owner})
        return client.create_automation(model)


def _change(client: SyncPrefectClient, there: Automation, changes: Sequence[FieldChange]) -> None:
    with explained(f"The automation {there.name!r} could not be changed"):
        values = there.model_dump(mode="json", exclude={"id", "owner_resource"})
        values |= {change.field: change.new for change in changes}
        client.update_automation(there.id, AutomationCore.model_validate(values))


def _tell(
    stage: Stage,
    name: str,
    desired: Mapping[str, object],
    observed: Mapping[str, object],
    changes: tuple[FieldChange, ...],
) -> None:
    if changes:
        detail = ", ".join(change.field for change in changes)
        stage.tell(KIND, name, Action.CHANGE, detail, changes=changes)
    elif fingerprints(desired) != fingerprints(observed):
        stage.report.add(KIND, name, Outcome.KEPT, "edited on the server")
    else:
        stage.tell(KIND, name, Action.UNCHANGED)


def _remove(stage: Stage, key: str, applied: AppliedAutomation, present: Mapping[str, Automation]) -> None:
    name = key.partition("|")[2]
    try:
        if applied.created and applied.id in present:
            if not stage.plan_only:
                with explained(f"The automation {name!r} could not be deleted"):
                    stage.client.delete_automation(UUID(applied.id))
            stage.tell(KIND, name, Action.REMOVE, "no longer declared")
        if not stage.plan_only:
            del stage.memory.automations[key]
    except DeployerError as error:
        stage.report.fail(KIND, name, error)


def _key(scope: str, name: str) -> str:
    return f"{scope}|{name}"


def _fields(spec: AutomationSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "description": spec.description,
        "enabled": spec.is_enabled,
        "trigger": spec.trigger,
        "actions": list(spec.actions),
    }


def _observed(there: Automation) -> dict[str, object]:
    return {
        "name": there.name,
        "description": there.description,
        "enabled": there.enabled,
        "trigger": as_json(there.trigger),
        "actions": [as_json(action) for action in there.actions],
    }
