"""Brings the deployments to the desired state: creates, changes, and prunes what the file dropped."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from yeedu_deployer.applied.deployments import (
    apply_deployment,
    delete_deployment,
    makes_runs_stale,
    observe,
    read_id,
    start_first_run,
)
from yeedu_deployer.applied.pools import observe_pool
from yeedu_deployer.applied.stage import Stage
from yeedu_deployer.declared.spec import DeploymentSpec
from yeedu_deployer.errors import DeployerError, ServerError
from yeedu_deployer.planned.definition import with_kept, with_observed_token
from yeedu_deployer.planned.plan import Action, DeploymentPlan, applied_state, plan_deployment
from yeedu_deployer.planned.sources import Resolved
from yeedu_deployer.planned.ticks import replace_stale_runs
from yeedu_deployer.report import Outcome
from yeedu_deployer.server import explained
from yeedu_deployer.state import AppliedDeployment

# One after another, first runs are soon done; all at once, each would wait for the others on a small machine.
FIRST_RUNS_APART_SECONDS = 1.5


@dataclass
class DeploymentStage:
    """Deals with all deployments of one file.

    Attributes:
        stage: What this run of the deployer shares.
        project: The file's `name`; only what was applied from a file of that name is ever pruned.
        pools: The declared pools, and whether each can be used.
        prunes: Whether what the file dropped is deleted.
        keeps_token: Whether the token of pull steps stays as the server has it.
        plans: What had to be done to each deployment of the file that can be applied.
        ids: The ids of the deployments that can be applied, by name; `None` for one that is only planned.
        dropped: The keys of those that were pruned, or would be.
    """

    stage: Stage
    project: str
    pools: Mapping[str, bool]
    prunes: bool = True
    keeps_token: bool = False
    plans: list[DeploymentPlan] = field(default_factory=list[DeploymentPlan])
    dropped: list[str] = field(default_factory=list[str])
    ids: dict[str, UUID | None] = field(default_factory=dict[str, UUID | None])
    _stale: list[UUID] = field(default_factory=list[UUID])
    _next_first_run: float = 0.0
    _paused_pools: dict[str, bool] = field(default_factory=dict[str, bool])

    def bring(self, specs: Sequence[DeploymentSpec], resolved: Resolved) -> None:
        """Create and change what the file declares, then prune what it dropped."""
        for spec in specs:
            self._bring_one(spec, resolved)
        if self.prunes:
            declared = {definition.key for definition in resolved.definitions.values()}
            self._prune(declared, set(resolved.errors))
        if self._stale:
            with explained("The scheduled runs of the changed deployments could not be made again"):
                replace_stale_runs(self.stage.client, self._stale, time.monotonic())

    def _bring_one(self, spec: DeploymentSpec, resolved: Resolved) -> None:
        stage = self.stage
        try:
            if error := resolved.errors.get(spec.name):
                raise error
            self._check_pool(spec)
            definition = resolved.definitions[spec.name]
            applied = stage.memory.deployments.get(definition.key)
            observed = observe(stage.client, definition)
            there = observed.fields if observed else None
            definition = with_kept(definition, there)
            if self.keeps_token:
                definition = with_observed_token(definition, there)
            plan = plan_deployment(definition, observed, applied)
            self.plans.append(plan)
            self.ids[spec.name] = plan.observed.id if plan.observed else None
            if stage.plan_only:
                self._tell(plan, plan.observed.id if plan.observed else None)
                return
            if plan.observed and makes_runs_stale(plan):
                self._stale.append(plan.observed.id)
            deployment_id = self.ids[spec.name] = apply_deployment(stage.client, plan)
            stage.memory.deployments[definition.key] = applied_state(
                plan, deployment_id, applied, self.project
            )
            self._tell(plan, deployment_id)
            if plan.action is Action.CREATE:
                self._start_first_run(plan, deployment_id)
        except DeployerError as error:
            stage.report.fail("deployment", spec.name, error)

    def _prune(self, declared: set[str], failed: set[str]) -> None:
        """Delete the deployments that the deployer made from this file and that the file dropped."""
        for key, applied in list(self.stage.memory.deployments.items()):
            name = key.partition("/")[2]
            if key in declared or name in failed or applied.project != self.project:
                continue  # the flow of a deployment that failed is not known, so its key is not either
            try:
                self._prune_one(key, applied)
            except DeployerError as error:
                self.stage.report.fail("deployment", name, error)

    def _prune_one(self, key: str, applied: AppliedDeployment) -> None:
        stage, name = self.stage, key.partition("/")[2]
        found = read_id(stage.client, key)
        if applied.created and found is not None and str(found) == applied.id:
            self.dropped.append(key)
            if not stage.plan_only:
                delete_deployment(stage.client, found, name)
            stage.tell("deployment", name, Action.REMOVE, "no longer in the file")
        if not stage.plan_only:
            del stage.memory.deployments[key]  # gone, or someone else's

    def _check_pool(self, spec: DeploymentSpec) -> None:
        if self.pools.get(spec.work_pool, False):
            return
        is_declared = spec.work_pool in self.pools
        if is_declared or observe_pool(self.stage.client, spec.work_pool) is None:
            raise ServerError(
                f"Deployment {spec.name!r} needs the work pool {spec.work_pool!r}, which "
                + ("could not be made." if is_declared else "is not declared and does not exist.")
            )

    def _tell(self, plan: DeploymentPlan, deployment_id: UUID | None) -> None:
        link = self.stage.link(f"deployments/deployment/{deployment_id}") if deployment_id else ""
        kept = [
            f"{name} kept: {', '.join(variables)} is not set here"
            for name, variables in plan.definition.kept.items()
        ]
        detail = "; ".join(filter(None, [plan.summary, *kept, *plan.definition.notes]))
        self.stage.tell("deployment", plan.definition.name, plan.action, detail, link, plan.changes)

    def _start_first_run(self, plan: DeploymentPlan, deployment_id: UUID) -> None:
        """Start a run of a new deployment whose schedule would start runs too, unless its pool is paused."""
        definition = plan.definition
        if not definition.starts_runs or self._is_paused(str(definition.fields["work_pool_name"])):
            return
        now = time.monotonic()
        due = max(now, self._next_first_run)
        self._next_first_run = due + FIRST_RUNS_APART_SECONDS
        run_id = start_first_run(self.stage.client, deployment_id, definition.name, due - now)
        link = self.stage.link(f"runs/flow-run/{run_id}")
        self.stage.report.add("first run", definition.name, Outcome.STARTED, link=link)

    def _is_paused(self, name: str) -> bool:
        """Whether a pool starts no runs, as far as it was asked for the first time."""
        if name not in self._paused_pools:
            pool = observe_pool(self.stage.client, name)
            self._paused_pools[name] = pool is None or pool.is_paused
        return self._paused_pools[name]
