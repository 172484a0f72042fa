"""Deals with the runs that the pools missed while nobody polled them, before their workers come back."""

from collections.abc import Mapping

from yeedu_deployer.applied.stage import Stage
from yeedu_deployer.errors import DeployerError
from yeedu_deployer.report import Outcome
from yeedu_deployer.server import explained
from yeedu_worker.catch_up import catch_up


def catch_up_pools(stage: Stage, pools: Mapping[str, bool]) -> None:
    """Apply every deployment's catch-up policy in the pools that no worker polls.

    A worker of this platform does the same when it starts; this is for workers that were started otherwise.
    """
    for pool, is_usable in pools.items():
        if not is_usable:
            continue
        try:
            with explained(f"The missed runs of the work pool {pool!r} could not be dealt with"):
                found = catch_up(stage.client, pool, plan_only=stage.plan_only)
        except DeployerError as error:
            stage.report.fail("missed runs", pool, error)
            continue
        if found.skipped:
            detail = ", ".join(f"{number} of {name}" for name, number in sorted(found.skipped.items()))
            outcome = Outcome.TO_SKIP if stage.plan_only else Outcome.SKIPPED
            stage.report.add("missed runs", pool, outcome, detail)
