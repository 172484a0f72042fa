"""Applies the desired state: plans everything, then writes exactly what was planned.

An object that cannot be planned or written does not stop the others.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from yeedu_deployer.applied.runs import FirstRuns, drop_missed_runs
from yeedu_deployer.applied.ticks import replace_stale_runs
from yeedu_deployer.applied.writers import POOL_FIELDS, write
from yeedu_deployer.declared.block_names import GIT_TOKEN_BLOCK
from yeedu_deployer.declared.desired import Desired
from yeedu_deployer.errors import DeployerError, RefusedError
from yeedu_deployer.inspection.inspector import FlowInspector
from yeedu_deployer.planned.automations import AutomationPlanner
from yeedu_deployer.planned.blocks import (
    Credentials,
    configured_blocks,
    plan_block_types,
    plan_blocks,
    refused,
)
from yeedu_deployer.planned.deployments import DeploymentPlanner
from yeedu_deployer.planned.plan import DONE, Outcome, Plan, record, stand_in
from yeedu_deployer.planned.pools import plan_pools
from yeedu_deployer.planned.sources import Sources
from yeedu_deployer.report import Report
from yeedu_deployer.server import all_pages, explained
from yeedu_deployer.settings import Configuration
from yeedu_deployer.state import Kind, State, locked_state
from yeedu_deployer.status import DeploymentStatus, read_status

# Fields of a deployment that the scheduler copies into its runs or acts on.
RUN_FIELDS = ("parameters", "tags", "version", "paused", *POOL_FIELDS)
# Kinds for which the report mentions edits made on the server.
TOLD_AS_KEPT = (Kind.BLOCK, Kind.AUTOMATION)
NAMELESS = (
    "not in this file, which has no 'name' to know it as its own by: delete it in the UI, or name the file"
)


class Deployer:
    """Compares the desired state with one server and, unless it only plans, applies it."""

    def __init__(
        self,
        client: SyncPrefectClient,
        configuration: Configuration,
        environment: Mapping[str, str],
        inspector: FlowInspector,
        desired: Desired,
        *,
        plan_only: bool = False,
        deployments_only: bool = False,
    ) -> None:
        """Prepare for one run.

        `environment` holds the variables for templates in pull steps. `plan_only` writes nothing;
        `deployments_only`, like `Desired.only`, leaves blocks, pools and alerts alone.
        """
        self.report = Report(configuration.secrets)
        self._client = client
        self._configuration = configuration
        self._environment = environment
        self._inspector = inspector
        self._desired = desired
        self._plan_only = plan_only
        self._deployments_only = deployments_only or desired.only is not None
        self._has_blocks = not self._deployments_only and (
            not desired.environment or bool(desired.block_names.environment)
        )
        self._plans: list[Plan] = []
        self._missing_blocks: list[str] = []
        self._ids: dict[tuple[Kind, str], str] = {}
        self._first_runs = FirstRuns(client)
        self._stale: list[UUID] = []
        self._changed_at = 0.0

    def status(self) -> list[DeploymentStatus]:
        """Compare the server's deployments with the file; requires `plan_only`."""
        self.run()
        plans = [plan for plan in self._plans if plan.kind is Kind.DEPLOYMENT]
        rows = read_status(self._client, plans)
        known = {plan.name for plan in plans if plan.desired is not None or plan.error}
        return rows if self._desired.only is None else [row for row in rows if row.name in known]

    def run(self) -> Report:
        """Plan everything and, unless `plan_only` is set, apply it; failures are in the report.

        Raises `ServerError` if the server cannot be used at all.
        """
        with self._state() as state:
            self._plans += self._plan(state)
            self._apply(state)
        return self.report

    @contextmanager
    def _state(self) -> Generator[State]:
        """Yield the state, locked for this deployer unless it only plans."""
        if self._plan_only:
            yield State.load(self._client, self._desired.environment)
        else:
            with locked_state(self._client, self._desired.environment) as state:
                yield state

    def _plan(self, state: State) -> Iterator[Plan]:
        """Yield one plan per object, in the order in which they are applied; write nothing."""
        client, names = self._client, self._desired.block_names
        configured = configured_blocks(self._configuration, names) if self._has_blocks else {}
        blocks = plan_blocks(client, configured, state.of(Kind.BLOCK))
        self._credentials = credentials = Credentials(client, blocks, names)
        # If blocks are left alone, so is the git token: whoever registers a flow need not know it.
        token = credentials.git_token(only_planned=self._has_blocks)
        sources = Sources(self._environment, token, credentials.of_step, self._inspector, names)
        definitions = sources.define(self._desired.deployments)
        self.report.hide(credentials.secrets)
        usable = {key: plan for key, plan in definitions.items() if not plan.error}
        desired = self._desired.without_other_flows(
            {key: plan.identity["flow_name"] for key, plan in usable.items()}
        )
        for url, note in sources.notes.items():
            self.report.add("source", url, Outcome.UNCHANGED, note)
        notes = credentials.login_notes()
        for plan in blocks.values():
            # A token that does not work must not replace one that might.
            named = (plan.identity["type"], plan.name)
            broken = (error for source, error in sources.unreadable.items() if source.names_block(*named))
            yield replace(plan, detail=notes.get(plan.name, ""), error=next(broken, None))
        with explained("The work pools could not be read"):
            self._pools = {pool.name: pool for pool in all_pages(client.read_work_pools)}
        pools: list[Plan] = []
        if not self._deployments_only:
            pools += plan_pools(desired.pools, desired.shared_pools, self._pools, state.of(Kind.POOL))
            yield from pools
        keeps_token = bool(token) and token not in blocks
        declared_pools = {plan.key for plan in pools}
        planner = DeploymentPlanner(client, desired, state, self._pools, declared_pools, keeps_token)
        yield from planner.plan(definitions)
        for name in planner.left:
            self.report.add(Kind.DEPLOYMENT, name, Outcome.KEPT, NAMELESS)
        if not self._has_blocks:
            self._missing_blocks = credentials.missing(self._used_blocks(usable.values()))
        if desired.automations is not None and not self._deployments_only:
            automations = AutomationPlanner(client, state.of(Kind.AUTOMATION))
            yield from automations.alerts(desired.automations, blocks)
        if not self._deployments_only and not desired.environment:
            yield from plan_block_types(client, state.of(Kind.BLOCK_TYPE))  # last, as no flow needs them

    def _used_blocks(self, definitions: Iterable[Plan]) -> set[str]:
        """Return the blocks that the definitions need, for a run that does not write blocks itself."""
        names = self._desired.block_names
        found = {name for one in definitions for name in names.used(list(one.value("parameters").values()))}
        return found | ({names.of(GIT_TOKEN_BLOCK)} if self._configuration.git_token else set())

    def _apply(self, state: State) -> None:
        for plan in self._plans:
            try:
                self._write(plan, state)
            except DeployerError as error:
                key = "name" if plan.kind is Kind.DEPLOYMENT else "triggers"
                told = plan.place.tell(error, key) if plan.place else error
                if isinstance(told, RefusedError) and plan.kind is Kind.BLOCK_TYPE:
                    # The server does not let this login register types; flows do not need the UI's forms.
                    state.of(plan.kind)[plan.key] = refused(plan.desired or {})
                    self.report.add(plan.kind, plan.name, Outcome.KEPT, str(told))
                else:
                    self.report.fail(plan.kind, plan.name, told)
        if self._stale:
            try:
                with explained("The scheduled runs of the changed deployments could not be made again"):
                    replace_stale_runs(self._client, self._stale, self._changed_at)
            except DeployerError as error:
                self.report.fail("scheduled runs", "of changed deployments", error)
        for name in self._missing_blocks:
            environment = self._desired.environment if self._desired.block_names.environment else ""
            command = f"make deploy ENVIRONMENT={environment}" if environment else "make deploy"
            detail = f"absent: `{command}` on the platform's machine makes it"
            self.report.add(Kind.BLOCK, name, Outcome.KEPT, detail)
        if not self._deployments_only:
            there = [spec.name for spec in self._desired.pools if spec.name in self._pools]
            for pool, found in drop_missed_runs(self._client, there, plan_only=self._plan_only):
                if isinstance(found, DeployerError):
                    self.report.fail("missed runs", pool, found)
                else:
                    outcome = Outcome.TO_SKIP if self._plan_only else Outcome.SKIPPED
                    self.report.add("missed runs", pool, outcome, found)

    def _write(self, plan: Plan, state: State) -> None:
        """Apply one plan, record it in the state, and report it."""
        if plan.error:
            raise plan.error
        plan = plan.with_ids(self._ids)
        before = state.of(plan.kind).get(plan.key)
        object_id = plan.observed.id if plan.observed else stand_in(plan.kind, plan.key)
        if not self._plan_only:
            if plan.kind is Kind.DEPLOYMENT and plan.action is Outcome.TO_CHANGE and _makes_runs_stale(plan):
                self._stale.append(UUID(object_id))
            try:
                object_id = write(self._client, plan)
            finally:
                self._changed_at = time.monotonic()
            if plan.desired is None:
                state.of(plan.kind).pop(plan.key, None)
            else:
                state.of(plan.kind)[plan.key] = record(plan, object_id, before)
        self._ids[plan.kind, plan.key] = object_id
        # A type that the server has and the state lacks is registered again to be safe, but not reported.
        if plan.kind is Kind.BLOCK_TYPE and plan.observed and (before is None or not plan.changes):
            return
        self._tell(plan, object_id)
        if plan.kind is Kind.DEPLOYMENT and plan.action is Outcome.TO_CREATE and not self._plan_only:
            pool = self._pools.get(plan.value("work_pool_name"))
            run = None if pool and pool.is_paused else self._first_runs.start(plan, object_id)
            if run:
                link = self._link(f"runs/flow-run/{run}")
                self.report.add("first run", plan.name, Outcome.STARTED, link=link)

    def _tell(self, plan: Plan, object_id: str) -> None:
        if plan.action is Outcome.TO_FORGET:
            return
        outcome = plan.action if self._plan_only else DONE.get(plan.action, plan.action)
        told, changes = "", ()
        if plan.action is Outcome.TO_CHANGE and plan.kind not in (Kind.BLOCK, Kind.BLOCK_TYPE):
            told, changes = plan.summary, plan.all_changes
        elif plan.kind in TOLD_AS_KEPT and plan.action is Outcome.UNCHANGED and plan.drift:
            outcome, told = Outcome.KEPT, "edited on the server"
        page = ""
        if plan.kind is Kind.POOL:
            page = f"work-pools/work-pool/{plan.name}"
        elif plan.kind is Kind.DEPLOYMENT and object_id != stand_in(plan.kind, plan.key) and plan.desired:
            page = f"deployments/deployment/{object_id}"
        detail = "; ".join(filter(None, (told, plan.detail)))
        self.report.add(plan.kind, plan.name, outcome, detail, self._link(page), changes)

    def note_missing_password(self) -> None:
        """Report the password block as absent if neither the environment nor the server has a Yeedu login."""
        if self._has_blocks and (block := self._credentials.lacks_login()):
            how = "set YEEDU_PASSWORD_FILE, or YEEDU_TOKEN_FILE for single sign-on, or create it in the UI"
            self.report.add(Kind.BLOCK, block, Outcome.KEPT, f"absent: {how}")

    def _link(self, path: str) -> str:
        return f"{self._configuration.ui_url}/{path}" if path else ""


def _makes_runs_stale(plan: Plan) -> bool:
    """Tell whether a plan changes what the scheduler writes into its runs, or when they are due."""
    is_rescheduled = any(part.action is not Outcome.UNCHANGED for part in plan.parts)
    return is_rescheduled or any(change.field in RUN_FIELDS for change in plan.changes)
