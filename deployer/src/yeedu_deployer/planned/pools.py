"""Plans the work pools, made from Prefect's template for their type with our defaults for job variables."""

import copy
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any, cast

from prefect.client.schemas.objects import WorkPool

from yeedu_deployer.declared.platform_files import PROCESS, Pool
from yeedu_deployer.errors import DeployerError, ServerError, SpecError
from yeedu_deployer.planned.plan import Observed, Plan, plan_object
from yeedu_deployer.state import Applied, Kind

VARIABLE_PREFIX = "job_variables."
WORKERS = files("prefect").joinpath("server/api/collections_data/views/aggregate-worker-metadata.json")


def plan_pools(
    specs: Iterable[Pool],
    shared: Collection[str],
    found: Mapping[str, WorkPool],
    applied: Mapping[str, Applied],
) -> Iterator[Plan]:
    """Compare every declared pool with the server's; an operator's edits stay, as for deployments.

    `shared` pools have another owner: they are created if missing, and otherwise left alone.
    """
    for spec in specs:
        pool = found.get(spec.name)
        if pool and spec.name in shared:
            continue
        try:
            yield _plan_pool(spec, pool, applied.get(spec.name))
        except DeployerError as error:
            yield Plan(Kind.POOL, spec.name, spec.name, error=error)


def _plan_pool(spec: Pool, pool: WorkPool | None, applied: Applied | None) -> Plan:
    if pool and pool.type != spec.type:
        raise ServerError(
            f"The work pool {spec.name!r} exists as a {pool.type!r} pool, not as {spec.type!r}; "
            "delete it or give it another name."
        )
    template = pool.base_job_template if pool else default_template(spec.type)
    desired: dict[str, object] = {
        "description": spec.description,
        "concurrency_limit": spec.concurrency_limit,
        **{f"{VARIABLE_PREFIX}{name}": value for name, value in spec.job_variables.items()},
    }
    observed, defaults = None, dict[str, object]()
    if pool:
        there = {f"{VARIABLE_PREFIX}{name}": value for name, value in _defaults(template).items()}
        own = {"description": pool.description, "concurrency_limit": pool.concurrency_limit}
        observed = Observed(str(pool.id), {**own, **there})
        if any(name not in desired for name in (applied.fields if applied else {})):
            stock = _defaults(default_template(spec.type))
            defaults = {f"{VARIABLE_PREFIX}{name}": stock.get(name) for name in _defaults(template)}
    plan = plan_object(Plan(Kind.POOL, spec.name, spec.name, desired, observed), applied, defaults)
    values = {one.field: one.new for one in plan.changes} if pool else desired
    variables = {
        name.removeprefix(VARIABLE_PREFIX): value
        for name, value in values.items()
        if name.startswith(VARIABLE_PREFIX)
    }
    if variables or not pool:
        template = with_defaults(template, spec.name, variables)
    return replace(plan, identity={"type": spec.type, "base_job_template": template})


def default_template(kind: str) -> dict[str, Any]:
    """Return the base job template that stock Prefect gives to pools of a type.

    It is the worker's if its package is installed here, as by `WORKER_EXTRAS`; otherwise the one that comes
    with Prefect's server for the UI.
    """
    # Importing workers takes a while, and most runs create no pool.
    if kind == PROCESS:
        from prefect.workers.process import ProcessWorker

        return ProcessWorker.get_default_base_job_template()
    from prefect.workers.base import BaseWorker

    if installed := BaseWorker.get_worker_class_from_type(kind):
        return installed.get_default_base_job_template()
    packages: dict[str, dict[str, Any]] = json.loads(WORKERS.read_text(encoding="utf-8"))
    (worker,) = (workers[kind] for workers in packages.values() if kind in workers)
    return worker["default_base_job_configuration"]


def with_defaults(template: Mapping[str, Any], pool: str, defaults: Mapping[str, object]) -> dict[str, Any]:
    """Copy a base job template with new default values for some of its variables; `None` removes one."""
    result = copy.deepcopy(dict(template))
    properties = _properties(result)
    for name, value in defaults.items():
        if name not in properties:
            known = ", ".join(sorted(properties))
            raise SpecError([f"Work pool {pool!r} has no job variable {name!r}; it has {known}."])
        properties[name]["default"] = value
    return result


def _properties(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    variables = cast("dict[str, Any]", template.get("variables", {}))
    return cast("dict[str, dict[str, Any]]", variables.get("properties", {}))


def _defaults(template: Mapping[str, Any]) -> dict[str, Any]:
    return {name: described.get("default") for name, described in _properties(template).items()}
