"""Brings the server to the desired state, part by part; a part that fails does not stop the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from yeedu_deployer.configuration import Configuration
from yeedu_deployer.credentials import (
    GIT_TOKEN_BLOCK,
    PASSWORD_BLOCK,
    BlockAction,
    BlockPlan,
    apply_block,
    plan_blocks,
    remember,
)
from yeedu_deployer.deployments import apply_deployment, observe, start_first_run
from yeedu_deployer.errors import DeployerError, ServerError, SourceError
from yeedu_deployer.git import Credential
from yeedu_deployer.inspection import FlowInspector
from yeedu_deployer.memory import Memory
from yeedu_deployer.merge import fingerprints
from yeedu_deployer.plan import Action, DeploymentPlan, applied_state, plan_deployment
from yeedu_deployer.pool_spec import PoolSpec
from yeedu_deployer.pools import change_pool, create_pool, desired_fields, observe_pool, plan_pool
from yeedu_deployer.report import Outcome, Report
from yeedu_deployer.secret_blocks import read_secret
from yeedu_deployer.server import explained
from yeedu_deployer.sources import Resolved, resolve_deployments
from yeedu_deployer.spec import DeploymentSpec

BLOCK_OUTCOMES = {
    BlockAction.CREATE: (Outcome.CREATED, Outcome.TO_CREATE, ""),
    BlockAction.CHANGE: (Outcome.CHANGED, Outcome.TO_CHANGE, ""),
    BlockAction.UNCHANGED: (Outcome.UNCHANGED, Outcome.UNCHANGED, ""),
    BlockAction.KEEP: (Outcome.KEPT, Outcome.KEPT, "edited on the server; the configured value is as before"),
}
DEPLOYMENT_OUTCOMES = {
    Action.CREATE: (Outcome.CREATED, Outcome.TO_CREATE),
    Action.CHANGE: (Outcome.CHANGED, Outcome.TO_CHANGE),
    Action.UNCHANGED: (Outcome.UNCHANGED, Outcome.UNCHANGED),
}


@dataclass(frozen=True)
class Desired:
    """The desired state as the files declare it."""

    deployments: tuple[DeploymentSpec, ...]
    pools: tuple[PoolSpec, ...]


class Deployer:
    """Compares the desired state with one server and, unless it only plans, applies it.

    Attributes:
        report: What was found and done so far.
    """

    def __init__(
        self,
        client: SyncPrefectClient,
        configuration: Configuration,
        environment: Mapping[str, str],
        inspector: FlowInspector,
        *,
        plan_only: bool = False,
    ) -> None:
        """Prepare for one run.

        Args:
            client: An open client.
            configuration: What the environment says.
            environment: The environment itself, for templates in pull steps.
            inspector: Imports the flows.
            plan_only: Whether to find out what would be done and write nothing.
        """
        self.report = Report(configuration.secrets)
        self._client = client
        self._configuration = configuration
        self._environment = environment
        self._inspector = inspector
        self._plan_only = plan_only
        self._memory = Memory.load(client)
        self._before = self._memory.model_copy(deep=True)

    def run(self, desired: Desired) -> Report:
        """Deal with blocks, pools and deployments in this order; failures are in the report.

        Raises:
            ServerError: The server cannot be used at all.
        """
        blocks = plan_blocks(self._client, self._configuration, self._memory.blocks)
        token_block = GIT_TOKEN_BLOCK if GIT_TOKEN_BLOCK in blocks else None
        resolved = resolve_deployments(
            desired.deployments,
            self._environment,
            token_block,
            lambda kind, name: self._credential(kind, name, blocks),
            self._inspector,
        )
        try:
            for block in blocks.values():
                self._deal_with_block(block, resolved)
            pools = {pool.name: self._deal_with_pool(pool) for pool in desired.pools}
            for spec in desired.deployments:
                self._deal_with_deployment(spec, resolved, pools)
        finally:
            if not self._plan_only and self._memory != self._before:
                self._memory.save()
        return self.report

    def _credential(self, kind: str, name: str, blocks: Mapping[str, BlockPlan]) -> str | Credential:
        """Find the credential that a worker's git_clone step would use once the blocks are applied."""
        if kind == "secret":
            block = blocks.get(name)
            value = block.effective if block else read_secret(self._client, name)
            if value is None:
                raise SourceError(
                    f"The pull step names the Secret block {name!r}, which does not exist; create it, "
                    "or name the token's file in FLOWS_GIT_TOKEN_FILE."
                )
            return self._kept_secret(str(value))
        with explained(f"The block {name!r} of type {kind!r} could not be read", quote_answer=False):
            try:
                data = self._client.read_block_document_by_name(name, kind, include_secrets=True).data
            except ObjectNotFound:
                raise SourceError(
                    f"The pull step names the {kind} block {name!r}, which does not exist."
                ) from None
        token = data.get("token") or data.get("access_token") or data.get("password")
        if not token:
            raise SourceError(f"The {kind} block {name!r} holds no token.")
        username = data.get("username")
        self._kept_secret(str(token))
        return Credential(str(username), str(token)) if username else str(token)

    def _kept_secret(self, value: str) -> str:
        self.report.secrets = (*self.report.secrets, value)
        return value

    def _deal_with_block(self, block: BlockPlan, resolved: Resolved) -> None:
        try:
            for source, error in resolved.unreadable.items():
                if source.credential == ("secret", block.name):
                    raise error  # a token that does not work must not replace one that may
            if not self._plan_only:
                apply_block(block)
                remember(block, self._memory.blocks)
        except DeployerError as error:
            self.report.fail("block", block.name, error)
            return
        done, planned, detail = BLOCK_OUTCOMES[block.action]
        self.report.add("block", block.name, planned if self._plan_only else done, detail)

    def _deal_with_pool(self, spec: PoolSpec) -> bool:
        """Create or change one pool; tells whether it can be used."""
        applied = self._memory.pools.get(spec.name, {})
        link = f"{self._configuration.ui_url}/work-pools/work-pool/{spec.name}"
        try:
            pool = observe_pool(self._client, spec.name)
            changes = plan_pool(spec, pool, applied) if pool else ()
            if pool and pool.type != spec.type:
                raise ServerError(
                    f"The work pool {spec.name!r} exists as a {pool.type!r} pool, not as {spec.type!r}; "
                    "delete it or give it another name."
                )
            if not self._plan_only:
                if pool is None:
                    create_pool(self._client, spec)
                elif changes:
                    change_pool(self._client, spec, pool, changes)
                self._memory.pools[spec.name] = fingerprints(desired_fields(spec))
        except DeployerError as error:
            self.report.fail("work pool", spec.name, error)
            return False
        action = Action.CREATE if pool is None else Action.CHANGE if changes else Action.UNCHANGED
        done, planned = DEPLOYMENT_OUTCOMES[action]
        detail = ", ".join(change.field for change in changes)
        self.report.add("work pool", spec.name, planned if self._plan_only else done, detail, link)
        return True

    def _deal_with_deployment(
        self, spec: DeploymentSpec, resolved: Resolved, pools: Mapping[str, bool]
    ) -> None:
        try:
            if error := resolved.errors.get(spec.name):
                raise error
            self._check_pool(spec, pools)
            definition = resolved.definitions[spec.name]
            applied = self._memory.deployments.get(definition.key)
            plan = plan_deployment(definition, observe(self._client, definition), applied)
            if self._plan_only:
                self._report_deployment(plan, plan.observed.id if plan.observed else None)
                return
            deployment_id = apply_deployment(self._client, plan)
            self._memory.deployments[definition.key] = applied_state(plan, deployment_id, applied)
            self._report_deployment(plan, deployment_id)
            if plan.action is Action.CREATE:
                self._start_first_run(plan, deployment_id)
        except DeployerError as error:
            self.report.fail("deployment", spec.name, error)

    def _check_pool(self, spec: DeploymentSpec, pools: Mapping[str, bool]) -> None:
        if pools.get(spec.work_pool, False):
            return
        if spec.work_pool in pools or observe_pool(self._client, spec.work_pool) is None:
            raise ServerError(
                f"Deployment {spec.name!r} needs the work pool {spec.work_pool!r}, which "
                + ("could not be made." if spec.work_pool in pools else "is not declared and does not exist.")
            )

    def _report_deployment(self, plan: DeploymentPlan, deployment_id: UUID | None) -> None:
        done, planned = DEPLOYMENT_OUTCOMES[plan.action]
        link = f"{self._configuration.ui_url}/deployments/deployment/{deployment_id}" if deployment_id else ""
        outcome = planned if self._plan_only else done
        self.report.add("deployment", plan.definition.name, outcome, plan.summary, link)

    def _start_first_run(self, plan: DeploymentPlan, deployment_id: UUID) -> None:
        """Start a run of a new deployment whose schedule would start runs too, unless its pool is paused."""
        definition = plan.definition
        pool = observe_pool(self._client, str(definition.fields["work_pool_name"]))
        if not definition.starts_runs or pool is None or pool.is_paused:
            return
        run_id = start_first_run(self._client, deployment_id, definition.name)
        link = f"{self._configuration.ui_url}/runs/flow-run/{run_id}"
        self.report.add("first run", definition.name, Outcome.STARTED, link=link)

    def note_missing_password(self) -> None:
        """Say that Yeedu flows find no password when neither the environment nor the server has one."""
        if self._configuration.password is None and read_secret(self._client, PASSWORD_BLOCK) is None:
            self.report.add(
                "block",
                PASSWORD_BLOCK,
                Outcome.KEPT,
                "absent: set YEEDU_PASSWORD_FILE or create it in the UI",
            )
