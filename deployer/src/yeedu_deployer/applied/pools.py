"""The work pools: made from Prefect's own template for their type, with our defaults for job variables."""

import copy
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from yeedu_deployer.declared.pool_spec import PROCESS, PoolSpec
from yeedu_deployer.errors import SpecError
from yeedu_deployer.planned.diff import FieldChange, changed_fields
from yeedu_deployer.server import explained

VARIABLE_PREFIX = "job_variables."
WORKERS = files("prefect").joinpath("server/api/collections_data/views/aggregate-worker-metadata.json")


def observe_pool(client: SyncPrefectClient, name: str) -> WorkPool | None:
    """Read a work pool, or None when there is none of that name."""
    with explained(f"The work pool {name!r} could not be read"):
        try:
            return client.read_work_pool(name)
        except ObjectNotFound:
            return None


def desired_fields(spec: PoolSpec) -> dict[str, object]:
    """Flatten a pool's declaration into fields that can be compared one by one."""
    fields: dict[str, object] = {"description": spec.description, "concurrency_limit": spec.concurrency_limit}
    return fields | {f"{VARIABLE_PREFIX}{name}": value for name, value in spec.job_variables.items()}


def plan_pool(spec: PoolSpec, pool: WorkPool, applied: Mapping[str, str]) -> tuple[FieldChange, ...]:
    """Find what has to change on an existing pool; what an operator edited stays, as for deployments."""
    properties = _properties(pool.base_job_template)
    observed: dict[str, object] = {
        "description": pool.description,
        "concurrency_limit": pool.concurrency_limit,
        **{
            f"{VARIABLE_PREFIX}{name}": properties.get(name, {}).get("default") for name in spec.job_variables
        },
    }
    return changed_fields(desired_fields(spec), observed, applied)


def create_pool(client: SyncPrefectClient, spec: PoolSpec) -> None:
    """Create a pool with the template of its type.

    Raises:
        SpecError: A job variable does not exist in that template.
        ServerError: The server refused the pool.
    """
    template = with_defaults(default_template(spec.type), spec.name, spec.job_variables)
    with explained(f"The work pool {spec.name!r} could not be created"):
        client.create_work_pool(
            WorkPoolCreate(
                name=spec.name,
                type=spec.type,
                description=spec.description,
                concurrency_limit=spec.concurrency_limit,
                base_job_template=template,
            )
        )


def default_template(kind: str) -> dict[str, Any]:
    """Read the base job template that Prefect gives to the pools of a type.

    Workers of other packages are not installed here; what the UI knows of them comes with Prefect's server.
    """
    if kind == PROCESS:
        # Importing a worker takes a while, and most runs create no pool.
        from prefect.workers.process import ProcessWorker

        return ProcessWorker.get_default_base_job_template()
    packages: dict[str, dict[str, Any]] = json.loads(WORKERS.read_text(encoding="utf-8"))
    (worker,) = (workers[kind] for workers in packages.values() if kind in workers)
    return worker["default_base_job_configuration"]


def change_pool(
    client: SyncPrefectClient, spec: PoolSpec, pool: WorkPool, changes: tuple[FieldChange, ...]
) -> None:
    """Write the changed fields of a pool, leaving the rest of its template as it is.

    Raises:
        SpecError: A job variable does not exist in the pool's template.
        ServerError: The server refused the change.
    """
    values: dict[str, Any] = {
        change.field: change.new for change in changes if not change.field.startswith(VARIABLE_PREFIX)
    }
    defaults = {
        change.field.removeprefix(VARIABLE_PREFIX): change.new
        for change in changes
        if change.field.startswith(VARIABLE_PREFIX)
    }
    if defaults:
        values["base_job_template"] = with_defaults(pool.base_job_template, spec.name, defaults)
    with explained(f"The work pool {spec.name!r} could not be changed"):
        client.update_work_pool(spec.name, WorkPoolUpdate(**values))


def with_defaults(template: Mapping[str, Any], pool: str, defaults: Mapping[str, object]) -> dict[str, Any]:
    """Copy a base job template with new default values for some of its variables.

    Raises:
        SpecError: A variable does not exist in the template.
    """
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
