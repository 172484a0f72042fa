"""Brings the work pools to the desired state."""

from collections.abc import Sequence

from yeedu_deployer.applied.pools import change_pool, create_pool, desired_fields, observe_pool, plan_pool
from yeedu_deployer.applied.stage import Stage
from yeedu_deployer.declared.pool_spec import PoolSpec
from yeedu_deployer.errors import DeployerError, ServerError
from yeedu_deployer.planned.diff import fingerprints
from yeedu_deployer.planned.plan import Action


def bring_pools(stage: Stage, specs: Sequence[PoolSpec]) -> dict[str, bool]:
    """Create or change every declared pool; tells of each whether it can be used."""
    return {spec.name: _bring_pool(stage, spec) for spec in specs}


def _bring_pool(stage: Stage, spec: PoolSpec) -> bool:
    try:
        pool = observe_pool(stage.client, spec.name)
        if pool and spec.is_shared:
            return True
        changes = plan_pool(spec, pool, stage.memory.pools.get(spec.name, {})) if pool else ()
        if pool and pool.type != spec.type:
            raise ServerError(
                f"The work pool {spec.name!r} exists as a {pool.type!r} pool, not as {spec.type!r}; "
                "delete it or give it another name."
            )
        if not stage.plan_only:
            if pool is None:
                create_pool(stage.client, spec)
            elif changes:
                change_pool(stage.client, spec, pool, changes)
            if not spec.is_shared:
                stage.memory.pools[spec.name] = fingerprints(desired_fields(spec))
    except DeployerError as error:
        stage.report.fail("work pool", spec.name, error)
        return False
    action = Action.CREATE if pool is None else Action.CHANGE if changes else Action.UNCHANGED
    detail = ", ".join(change.field for change in changes)
    link = stage.link(f"work-pools/work-pool/{spec.name}")
    stage.tell("work pool", spec.name, action, detail, link, changes)
    return True
