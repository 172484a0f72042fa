"""What has to be done to the deployments: read as plain fields, and compared with their definitions."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import SCHEDULE_TYPES

from yeedu_deployer.declared.automation_spec import as_json
from yeedu_deployer.declared.models import TRIGGER
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.schedules import says_the_same
from yeedu_deployer.errors import DeployerError, ServerError
from yeedu_deployer.planned.definition import Definition, place_of, with_kept, with_observed_token
from yeedu_deployer.planned.plan import Observed, Plan, plan_object
from yeedu_deployer.planned.sources import Resolved
from yeedu_deployer.server import all_pages, explained
from yeedu_deployer.state import Applied, Kind


def read_deployments(
    client: SyncPrefectClient, names: Collection[str] | None = None
) -> dict[str, DeploymentResponse]:
    """Read the deployments of some names, or all, by their keys `flow/name`.

    Raises:
        ServerError: The server cannot be read.
    """
    if names is not None and not names:
        return {}
    wanted = DeploymentFilter(name=DeploymentFilterName(any_=sorted(names))) if names else None
    with explained("The deployments could not be read"):
        found = all_pages(partial(client.read_deployments, deployment_filter=wanted))
        flows = all_pages(partial(client.read_flows, deployment_filter=wanted)) if found else []
    flow_names = {flow.id: flow.name for flow in flows}
    return {f"{flow_names.get(one.flow_id)}/{one.name}": one for one in found}


@dataclass(frozen=True)
class DeploymentPlanner:
    """Plans all deployments of one file.

    Attributes:
        project: The file's `name`; only what was applied from a file of that name is ever pruned.
        found: The deployments on the server, by key.
        applied: What was last applied, by key.
        pools: The work pools that there are.
        declared_pools: The names of those that are planned.
        keeps_token: Whether the token of pull steps stays as the server has it.
        is_cloud: Whether the server is Prefect Cloud.
    """

    project: str
    found: Mapping[str, DeploymentResponse]
    applied: Mapping[str, Applied]
    pools: Mapping[str, WorkPool]
    declared_pools: Collection[str]
    keeps_token: bool = False
    is_cloud: bool = False

    def plan(self, specs: Collection[DeploymentSpec], resolved: Resolved) -> Iterator[Plan]:
        """Plan what the file declares."""
        for spec in specs:
            try:
                if error := resolved.errors.get(spec.id):
                    raise error
                self._check_pool(spec)
                self._check_triggers(spec)
                yield self._plan_one(resolved.definitions[spec.id], spec)
            except DeployerError as error:
                yield Plan(Kind.DEPLOYMENT, spec.id, spec.name, error=place_of(spec).tell(error))

    def prune(self, declared: Collection[str], broken: Collection[str]) -> Iterator[Plan]:
        """Plan to delete what the deployer made from this file and the file dropped.

        Args:
            declared: The keys of what the file declares.
            broken: Names of what it declares and cannot be applied; its flow, and so its key, may be unknown.
        """
        for key, applied in self.applied.items():
            name = key.partition("/")[2]
            if key in declared or name in broken or applied.scope != self.project:
                continue
            found = self.found.get(key)
            is_ours = applied.created and found is not None and str(found.id) == applied.id
            observed = Observed(applied.id, {}) if is_ours else None  # gone, or someone else's
            yield Plan(Kind.DEPLOYMENT, key, name, None, observed, detail="no longer in the file")

    def _plan_one(self, definition: Definition, spec: DeploymentSpec) -> Plan:
        found, applied = self.found.get(definition.key), self.applied.get(definition.key)
        fields = _observed_fields(found) if found else None
        definition = with_kept(definition, fields)
        if self.keeps_token:
            definition = with_observed_token(definition, fields)
        known = applied.parts if applied and found and applied.id == str(found.id) else {}
        kept = [
            f"{name} kept: {', '.join(variables)} is not set here"
            for name, variables in definition.kept.items()
        ]
        needs = ((Kind.POOL, spec.work_pool),) if spec.work_pool in self.declared_pools else ()
        plan = Plan(
            Kind.DEPLOYMENT,
            definition.key,
            definition.name,
            definition.fields,
            Observed(str(found.id), fields or {}) if found else None,
            parts=tuple(_plan_schedules(definition, found, known)),
            identity={"flow_name": definition.flow_name},
            scope=self.project,
            needs=needs,
            stays=frozenset({"parameters"} if definition.kept else ()),
            detail="; ".join([*kept, *definition.notes]),
            place=place_of(spec),
        )
        return plan_object(plan, applied)

    def _check_triggers(self, spec: DeploymentSpec) -> None:
        for number, values in enumerate(spec.triggers, start=1):
            if not self.is_cloud and "metric" in _types(as_json(TRIGGER.validate_python(values))):
                raise ServerError(
                    f"trigger {number}: 'metric' exists in Prefect Cloud only; write a trigger of "
                    "the type 'event'.",
                    "triggers",
                )

    def _check_pool(self, spec: DeploymentSpec) -> None:
        if spec.work_pool not in self.declared_pools and spec.work_pool not in self.pools:
            raise ServerError(
                f"there is no work pool {spec.work_pool!r}; declare it in work-pools.yaml, create it on the "
                "server, or write the name of another.",
                "work_pool",
            )


def _types(trigger: Mapping[str, Any]) -> set[str]:
    """Return the types of a trigger and of those that it is made of."""
    return {trigger["type"]}.union(*map(_types, trigger.get("triggers", ())))


def _plan_schedules(
    definition: Definition, found: DeploymentResponse | None, applied: Mapping[str, Mapping[str, str]]
) -> Iterator[Plan]:
    present = {
        schedule.slug or str(schedule.id): Observed(
            str(schedule.id),
            {
                "rule": _observed_rule(schedule.schedule, definition.schedules.get(schedule.slug or "")),
                "active": schedule.active,
                "parameters": schedule.parameters,
            },
        )
        for schedule in (found.schedules if found else ())
    }
    for slug, fields in definition.schedules.items():
        plan = Plan(Kind.SCHEDULE, slug, slug, fields, present.get(slug))
        yield plan_object(plan, Applied(fields=dict(applied.get(slug, {}))))
    for slug, observed in present.items():
        # Only what was applied from the file goes with it; a schedule that someone added in the UI stays.
        if slug in applied and slug not in definition.schedules:
            yield Plan(Kind.SCHEDULE, slug, slug, None, observed)


def _observed_rule(found: SCHEDULE_TYPES, desired: Mapping[str, Any] | None) -> dict[str, Any]:
    """Read a schedule's rule, in the file's own words where it says the same: defaults are no difference."""
    rule = found.model_dump(mode="json")
    return desired["rule"] if desired and says_the_same(desired["rule"], rule) else rule


def _observed_fields(found: DeploymentResponse) -> dict[str, Any]:
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
        "concurrency_options": options.model_dump(mode="json", exclude_none=True) if options else None,
        "paused": found.paused,
    }
