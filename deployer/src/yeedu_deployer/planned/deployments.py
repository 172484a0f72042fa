"""Plans the deployments: compares what the file and the flows declare with what the server has."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from pydantic import JsonValue

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.desired import Desired
from yeedu_deployer.declared.flow_source import CREDENTIAL_KEYS
from yeedu_deployer.declared.models import TRIGGER
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.schedules import says_the_same
from yeedu_deployer.declared.steps import GIT_CLONE, PullStep
from yeedu_deployer.errors import ConfigurationError, DeployerError, FlowError, ServerError
from yeedu_deployer.inspection.inspector import FlowFacts, Wanted
from yeedu_deployer.planned.automations import AutomationPlanner, as_json
from yeedu_deployer.planned.plan import Observed, Plan, plan_object
from yeedu_deployer.server import all_pages, explained
from yeedu_deployer.state import Applied, Kind, State

Step = dict[str, dict[str, JsonValue]]
# The fields that are compared as the server returns them.
AS_THEY_ARE = (
    *("entrypoint", "description", "version", "tags", "parameters", "enforce_parameter_schema"),
    *(
        "parameter_openapi_schema",
        "pull_steps",
        "work_pool_name",
        "work_queue_name",
        "job_variables",
        "paused",
    ),
)


def wanted(spec: DeploymentSpec, directory: str) -> Wanted:
    """Return what to inspect for a deployment, in the directory where its pull steps leave a worker."""
    env = spec.says.work_pool.job_variables.get("env")
    environment = {name: str(value) for name, value in env.items()} if isinstance(env, dict) else {}
    sets = tuple(spec.says.parameter_sets.values())
    return Wanted(spec.says.entrypoint, sets, environment, directory)


def define(
    spec: DeploymentSpec, pull: tuple[PullStep, ...], facts: FlowFacts, names: BlockNames | None = None
) -> Plan:
    """Complete a deployment's declaration with its flow's name, description, version and parameters.

    `pull` is stored, with the access token's placeholder if there is one. Raises `FlowError` if file and flow
    contradict each other.
    """
    says, names = spec.says, names or BlockNames()
    if says.flow_name and says.flow_name != facts.name:
        raise FlowError(
            f"'flow_name' is {says.flow_name!r}, but {says.entrypoint} is the flow {facts.name!r}; write "
            "that, or leave it out.",
            "flow_name",
        )
    is_enforced = says.enforce_parameter_schema is not False
    for name, reason in zip(says.parameter_sets, facts.parameter_errors, strict=True):
        if is_enforced and reason is not None:
            raise FlowError(f"{name}{reason}.", "schedules" if name else "parameters")
    parameters = names.parameters(says.parameters, facts.parameter_schema)
    fields: dict[str, object] = {
        "entrypoint": says.entrypoint,
        "description": says.description or facts.description,
        "version": says.version or facts.version,
        "tags": list(says.tags),
        "parameters": {name: value for name, value in parameters.items() if name not in spec.kept},
        "enforce_parameter_schema": is_enforced,
        "parameter_openapi_schema": facts.parameter_schema,
        "pull_steps": [step.as_prefect() for step in pull],
        "work_pool_name": says.work_pool.name,
        "work_queue_name": says.work_pool.work_queue_name,
        "job_variables": says.work_pool.job_variables,
        "concurrency_limit": says.limit and says.limit.limit,
        "concurrency_options": says.limit and says.limit.options,
        "paused": says.paused,
    }
    schedules: dict[str, dict[str, object]] = {
        schedule.slug or "": {
            "rule": schedule.rule,
            "active": schedule.active,
            "parameters": {name: names.within(one, name) for name, one in schedule.parameters.items()},
        }
        for schedule in says.schedules
    }
    return Plan(
        Kind.DEPLOYMENT,
        f"{facts.name}/{spec.name}",
        spec.name,
        fields,
        parts=tuple(Plan(Kind.SCHEDULE, slug, slug, one) for slug, one in schedules.items()),
        identity={"flow_name": facts.name},
        detail="; ".join((*spec.notes, *facts.notes)),
        place=spec.place,
    )


def failed(spec: DeploymentSpec, error: DeployerError, key: str = "") -> Plan:
    """Return the plan of a deployment that cannot be applied; see `Place.tell` for `key`."""
    return Plan(Kind.DEPLOYMENT, spec.id, spec.name, error=spec.place.tell(error, key))


def read_deployments(
    client: SyncPrefectClient, names: Collection[str] | None = None
) -> dict[str, DeploymentResponse]:
    """Return the deployments of these names, or all, by their keys `flow/name`."""
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
    """Plans all deployments of one file, and the automations of their triggers.

    `pools` are the work pools that exist, and `declared_pools` the names of those that are planned. With
    `keeps_token`, the token of pull steps stays as the server has it. What a file without a name drops is not
    deleted, since such files cannot be told apart, but listed in `left`.
    """

    client: SyncPrefectClient
    desired: Desired
    state: State
    pools: Mapping[str, WorkPool]
    declared_pools: Collection[str]
    keeps_token: bool = False
    left: list[str] = field(default_factory=list[str])

    def plan(self, definitions: Mapping[str, Plan]) -> Iterator[Plan]:
        """Compare the definitions, by their ids in the file, with the server; plan prunes and triggers."""
        desired, applied = self.desired, self.state.of(Kind.DEPLOYMENT)
        declared = {one.key for one in definitions.values() if not one.error}
        names = {key.partition("/")[2] for key in (*declared, *(applied if desired.prunes else ()))}
        found = read_deployments(self.client, names)
        plans = [self._compare(spec, definitions[spec.id], found) for spec in desired.deployments]
        yield from plans
        for name, error in desired.errors.items():
            yield Plan(Kind.DEPLOYMENT, name, name, error=error)
        broken = {plan.name for plan in plans if plan.error} | desired.broken_names
        for key, before in applied.items() if desired.prunes else ():
            name = key.partition("/")[2]
            # Only what came from a file of this name is ever pruned; a broken deployment's key is unknown.
            if key in declared or name in broken or before.scope != desired.name:
                continue
            is_ours = before.created and key in found and str(found[key].id) == before.id
            if is_ours and not desired.name:
                self.left.append(name)
                continue
            observed = Observed(before.id, {}) if is_ours else None  # gone, or someone else's
            yield Plan(Kind.DEPLOYMENT, key, name, None, observed, detail="no longer in the file")
        usable = (pair for pair in zip(desired.deployments, plans, strict=True) if not pair[1].error)
        automations = AutomationPlanner(self.client, self.state.of(Kind.AUTOMATION), desired.prunes)
        yield from automations.triggers(usable, desired.name, broken)

    def _compare(self, spec: DeploymentSpec, plan: Plan, found: Mapping[str, DeploymentResponse]) -> Plan:
        if plan.error:
            return plan
        there, applied = found.get(plan.key), self.state.of(Kind.DEPLOYMENT).get(plan.key)
        fields = _observed_fields(there) if there else {}
        pool = spec.says.work_pool.name
        try:
            self._check(spec)
            desired: dict[str, Any] = {**(plan.desired or {}), "parameters": _parameters(spec, plan, there)}
        except DeployerError as error:
            return failed(spec, error)
        if self.keeps_token:
            desired["pull_steps"] = _with_observed_token(
                desired["pull_steps"], fields.get("pull_steps") or []
            )
        known = applied.parts if applied and there and applied.id == str(there.id) else {}
        kept = [
            f"{name} kept: {', '.join(variables)} is not set here" for name, variables in spec.kept.items()
        ]
        plan = replace(
            plan,
            desired=desired,
            observed=Observed(str(there.id), fields) if there else None,
            parts=tuple(_plan_schedules(plan.parts, there, known)),
            scope=self.desired.name,
            needs=((Kind.POOL, pool),) if pool in self.declared_pools else (),
            stays=frozenset({"parameters"} if spec.kept else ()),
            detail="; ".join([*kept, *filter(None, [plan.detail])]),
        )
        return plan_object(plan, applied)

    def _check(self, spec: DeploymentSpec) -> None:
        pool = spec.says.work_pool.name
        if pool not in self.declared_pools and pool not in self.pools:
            raise ServerError(
                f"there is no work pool {pool!r}; declare it in work-pools.yaml, create it on the "
                "server, or write the name of another.",
                "work_pool",
            )
        if self.client.server_type is ServerType.CLOUD:
            return
        for number, values in enumerate(spec.says.triggers, start=1):
            if "metric" in _types(as_json(TRIGGER.validate_python(values))):
                raise ServerError(
                    f"trigger {number}: 'metric' exists in Prefect Cloud only; write a trigger of "
                    "the type 'event'.",
                    "triggers",
                )


def _types(trigger: Mapping[str, Any]) -> set[str]:
    """Return the types of a trigger and of those that it consists of."""
    return {trigger["type"]}.union(*map(_types, trigger.get("triggers", ())))


def _parameters(spec: DeploymentSpec, plan: Plan, found: DeploymentResponse | None) -> dict[str, Any]:
    """Add the kept parameters with the server's values; raise `ConfigurationError` if it has none."""
    there = found.parameters if found else {}
    missing = {name: variables for name, variables in spec.kept.items() if name not in there}
    if missing:
        which = ", ".join(dict.fromkeys(variable for variables in missing.values() for variable in variables))
        why = "no value of" if found else "no such deployment yet, and so no value of"
        raise ConfigurationError(
            f"{which} is not set here, and the server has {why} {', '.join(missing)}; "
            "set it and apply again.",
            "parameters",
        )
    return {**plan.value("parameters"), **{name: there[name] for name in spec.kept}}


def _with_observed_token(steps: list[Step], there: list[Step]) -> list[Step]:
    """Return the server's pull steps if they differ only in the token, which is not known here."""

    def without_token(step: Step) -> Step:
        return {
            function: {name: value for name, value in inputs.items() if name not in CREDENTIAL_KEYS}
            if function == GIT_CLONE
            else inputs
            for function, inputs in step.items()
        }

    return there if list(map(without_token, there)) == list(map(without_token, steps)) else steps


def _plan_schedules(
    desired: Collection[Plan], found: DeploymentResponse | None, applied: Mapping[str, Mapping[str, str]]
) -> Iterator[Plan]:
    present = {one.slug or str(one.id): one for one in (found.schedules if found else ())}
    for plan in desired:
        observed = None
        if there := present.get(plan.key):
            rule = there.schedule.model_dump(mode="json")
            if says_the_same(plan.value("rule"), rule):  # the server's defaults are no difference
                rule = plan.value("rule")
            fields = {"rule": rule, "active": there.active, "parameters": there.parameters}
            observed = Observed(str(there.id), fields)
        yield plan_object(replace(plan, observed=observed), Applied(fields=dict(applied.get(plan.key, {}))))
    for slug, there in present.items():
        # Only schedules that came from the file are removed; one that someone added in the UI stays.
        if slug in applied and all(plan.key != slug for plan in desired):
            rule = there.schedule.model_dump(mode="json")
            yield Plan(Kind.SCHEDULE, slug, slug, None, Observed(str(there.id), {"rule": rule}))


def _observed_fields(found: DeploymentResponse) -> dict[str, Any]:
    limit, options = found.global_concurrency_limit, found.concurrency_options
    return {name: getattr(found, name) for name in AS_THEY_ARE} | {
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": options.model_dump(mode="json", exclude_none=True) if options else None,
    }
