"""What has to be done to one deployment: pure comparison, no server."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from yeedu_deployer.planned.definition import Definition
from yeedu_deployer.planned.diff import FieldChange, changed_fields, fingerprints
from yeedu_deployer.state import AppliedDeployment


class Action(StrEnum):
    """What is to be done with an object."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class ObservedSchedule:
    """A schedule on the server; one that was made in the UI may have no slug."""

    id: UUID
    slug: str | None
    fields: Mapping[str, object]


@dataclass(frozen=True)
class ObservedDeployment:
    """A deployment on the server, in the same fields as its definition."""

    id: UUID
    fields: Mapping[str, object]
    schedules: tuple[ObservedSchedule, ...] = ()


@dataclass(frozen=True)
class ScheduleChange:
    """What is to be done with one schedule."""

    slug: str
    action: Action
    id: UUID | None = None
    fields: tuple[FieldChange, ...] = ()
    old_rule: object = None


@dataclass(frozen=True)
class DeploymentPlan:
    """What is to be done with one deployment."""

    definition: Definition
    observed: ObservedDeployment | None
    fields: tuple[FieldChange, ...] = ()
    schedules: tuple[ScheduleChange, ...] = ()

    @property
    def action(self) -> Action:
        """The whole in one word."""
        if self.observed is None:
            return Action.CREATE
        return Action.CHANGE if self.fields or self.schedules else Action.UNCHANGED

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        """Every changed field with its old and new value; those of schedules as `schedules.SLUG.FIELD`."""
        found = list(self.fields)
        for change in self.schedules:
            if change.action is Action.CHANGE:
                found += [
                    FieldChange(f"schedules.{change.slug}.{one.field}", one.old, one.new)
                    for one in change.fields
                ]
                continue
            wanted = self.definition.schedules.get(change.slug, {}).get("rule")
            found.append(FieldChange(f"schedules.{change.slug}", change.old_rule, wanted))
        return tuple(found)

    @property
    def summary(self) -> str:
        """The changed parts in a few words, for one line of a table."""
        parts = [change.field for change in self.fields]
        for change in self.schedules:
            names = ", ".join(field.field for field in change.fields)
            parts.append(f"schedule {change.slug} {names or change.action.value + 'd'}")
        return ", ".join(parts)


def plan_deployment(
    definition: Definition, observed: ObservedDeployment | None, applied: AppliedDeployment | None
) -> DeploymentPlan:
    """Compare a definition with the server and with what was last applied.

    Args:
        definition: The desired state.
        observed: The deployment of that name on the server, if there is one.
        applied: What was last applied to the deployment of that name.
    """
    if observed is None:
        return DeploymentPlan(definition, None)
    known = applied if applied and applied.id == str(observed.id) else None
    fields = changed_fields(definition.fields, observed.fields, known.fields if known else {})
    schedules = _plan_schedules(definition, observed, known.schedules if known else {})
    return DeploymentPlan(definition, observed, fields, schedules)


def applied_state(
    plan: DeploymentPlan, deployment_id: UUID, before: AppliedDeployment | None, project: str = ""
) -> AppliedDeployment:
    """Form what is to be remembered once the plan is applied.

    Where parameters stay as the server has them, and none was written, what was applied before still counts:
    else a value that was edited in the UI would pass for one of the file.
    """
    created = plan.observed is None or (
        before is not None and before.id == str(deployment_id) and before.created
    )
    fields = fingerprints(plan.definition.fields)
    known = before.fields.get("parameters") if before and before.id == str(deployment_id) else None
    if plan.definition.kept and known and all(change.field != "parameters" for change in plan.fields):
        fields["parameters"] = known
    return AppliedDeployment(
        id=str(deployment_id),
        created=created,
        project=project,
        fields=fields,
        schedules={slug: fingerprints(fields) for slug, fields in plan.definition.schedules.items()},
    )


def _plan_schedules(
    definition: Definition, observed: ObservedDeployment, applied: Mapping[str, Mapping[str, str]]
) -> tuple[ScheduleChange, ...]:
    changes: list[ScheduleChange] = []
    present = {schedule.slug: schedule for schedule in observed.schedules if schedule.slug}
    for slug, fields in definition.schedules.items():
        existing = present.get(slug)
        if existing is None:
            changes.append(ScheduleChange(slug, Action.CREATE))
            continue
        changed = changed_fields(fields, existing.fields, applied.get(slug, {}))
        if changed:
            changes.append(ScheduleChange(slug, Action.CHANGE, existing.id, changed))
    # Only what was applied from the file is removed with it; a schedule that someone added in the UI stays.
    changes.extend(
        ScheduleChange(slug, Action.REMOVE, present[slug].id, old_rule=present[slug].fields["rule"])
        for slug in applied
        if slug in present and slug not in definition.schedules
    )
    return tuple(changes)
