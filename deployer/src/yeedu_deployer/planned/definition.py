"""A deployment as it should be on the server: what the file says, completed by what its flow says."""

from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.declared.prefect_yaml import DeploymentSpec
from yeedu_deployer.declared.steps import PullStep
from yeedu_deployer.errors import DeployerError, FlowError
from yeedu_deployer.inspection.inspector import FlowFacts, Wanted
from yeedu_deployer.planned.plan import Plan
from yeedu_deployer.state import Kind


def wanted(spec: DeploymentSpec, directory: str) -> Wanted:
    """Say what there is to find out about a flow, in the directory where its pull steps leave a worker."""
    env = spec.says.work_pool.job_variables.get("env")
    environment = {name: str(value) for name, value in env.items()} if isinstance(env, dict) else {}
    sets = tuple(spec.says.parameter_sets.values())
    return Wanted(spec.says.entrypoint, sets, environment, directory)


def define(
    spec: DeploymentSpec, pull: tuple[PullStep, ...], facts: FlowFacts, names: BlockNames | None = None
) -> Plan:
    """Complete a deployment's declaration with its flow's name, description, version and parameters.

    `pull` is stored, with the access token's placeholder where there is one. Where file and flow contradict
    each other, that is a `FlowError`.
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
    """Form the plan of a deployment that cannot be applied; see `Place.tell` for `key`."""
    return Plan(Kind.DEPLOYMENT, spec.id, spec.name, error=spec.place.tell(error, key))
