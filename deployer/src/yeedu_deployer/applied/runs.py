"""The flow runs that an apply starts or drops: first runs, and missed runs."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Scheduled

from yeedu_deployer.errors import DeployerError
from yeedu_deployer.planned.plan import Plan
from yeedu_deployer.server import explained
from yeedu_worker.catch_up import catch_up

# Staggered, first runs finish soon; all at once, they would slow each other down on a small machine.
FIRST_RUNS_APART_SECONDS = 1.5


@dataclass
class FirstRuns:
    """Starts a run of each new deployment with an active schedule, so that the UI has runs to show."""

    client: SyncPrefectClient
    _next: float = 0.0

    def start(self, plan: Plan, deployment_id: str) -> UUID | None:
        """Start a deployment's first run, at most once; return its id, or None if no schedule is active."""
        if plan.value("paused") or not any(part.value("active") for part in plan.parts):
            return None
        now = time.monotonic()
        due = max(now, self._next)
        self._next = due + FIRST_RUNS_APART_SECONDS
        with explained(f"The first run of {plan.name!r} could not be started"):
            run = self.client.create_flow_run_from_deployment(
                UUID(deployment_id),
                state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(seconds=due - now)),
                idempotency_key=f"first-run-{deployment_id}",
            )
        return run.id


def drop_missed_runs(
    client: SyncPrefectClient, pools: Iterable[str], *, plan_only: bool
) -> Iterator[tuple[str, str | DeployerError]]:
    """Apply every deployment's catch-up policy in the pools that no worker polls.

    This platform's workers do the same when they start; this covers workers that were started differently.
    Yields, for each pool with missed runs, how many of each deployment were or would be dropped, or an error.
    """
    for pool in pools:
        try:
            with explained(f"The missed runs of the work pool {pool!r} could not be dealt with"):
                found = catch_up(client, pool, plan_only=plan_only)
        except DeployerError as error:
            yield pool, error
            continue
        if found.skipped:
            yield pool, ", ".join(f"{number} of {name}" for name, number in sorted(found.skipped.items()))
