"""Brings the server to the desired state, part by part; a part that fails does not stop the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from prefect.client.orchestration import SyncPrefectClient

from yeedu_deployer.automation_spec import AutomationSpec
from yeedu_deployer.automation_stage import (
    bring_automations,
    notification_targets,
    trigger_automations,
    with_notifications,
)
from yeedu_deployer.block_stage import bring_blocks, find_credential, note_missing_password
from yeedu_deployer.block_type_stage import bring_block_types
from yeedu_deployer.catch_up_stage import catch_up_pools
from yeedu_deployer.configuration import Configuration
from yeedu_deployer.credentials import GIT_TOKEN_BLOCK, plan_blocks
from yeedu_deployer.deployment_stage import DeploymentStage
from yeedu_deployer.inspection import FlowInspector
from yeedu_deployer.memory import Memory
from yeedu_deployer.pool_spec import PoolSpec
from yeedu_deployer.pool_stage import bring_pools
from yeedu_deployer.report import Report
from yeedu_deployer.sources import resolve_deployments
from yeedu_deployer.spec import DeploymentSpec
from yeedu_deployer.stage import Stage
from yeedu_deployer.status import DeploymentStatus, read_status

ALERTS = "alerts"


@dataclass(frozen=True)
class Desired:
    """The desired state as the files declare it.

    Attributes:
        deployments: The deployments of the file.
        pools: The work pools.
        project: The file's `name`.
        automations: The platform's own automations; `None` leaves those on the server as they are.
    """

    deployments: tuple[DeploymentSpec, ...]
    pools: tuple[PoolSpec, ...]
    project: str = ""
    automations: tuple[AutomationSpec, ...] | None = None


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
        memory_of: str = "",
        deployments_only: bool = False,
    ) -> None:
        """Prepare for one run.

        Args:
            client: An open client.
            configuration: What the environment says.
            environment: The environment itself, for templates in pull steps.
            inspector: Imports the flows.
            plan_only: Whether to find out what would be done and write nothing.
            memory_of: The environment whose memory it is; empty for the platform itself.
            deployments_only: Whether blocks, pools and alerts are left alone, as they are for an environment.
        """
        self.report = Report(configuration.secrets)
        self._inspector = inspector
        memory = Memory.load(client, memory_of)
        self._environment = memory_of
        self._deployments_only = deployments_only or bool(memory_of)
        self._before = memory.model_copy(deep=True)
        self._stage = Stage(client, configuration, environment, memory, self.report, plan_only)

    def status(self, desired: Desired) -> list[DeploymentStatus]:
        """Compare the server's deployments with the file; only for a deployer that plans.

        Raises:
            ServerError: The server cannot be used at all.
        """
        self.run(desired)
        done = self._deployments
        known = {plan.definition.name for plan in done.plans}
        failed = [spec.name for spec in desired.deployments if spec.name not in known]
        return read_status(self._stage.client, done.plans, done.dropped, failed)

    def run(self, desired: Desired) -> Report:
        """Deal with blocks, pools and deployments in this order; failures are in the report.

        Raises:
            ServerError: The server cannot be used at all.
        """
        stage = self._stage
        blocks = plan_blocks(stage.client, stage.configuration, stage.memory.blocks)
        token_block = GIT_TOKEN_BLOCK if GIT_TOKEN_BLOCK in blocks else None
        resolved = resolve_deployments(
            desired.deployments,
            stage.environment,
            token_block,
            lambda kind, name: find_credential(stage, kind, name, blocks),
            self._inspector,
        )
        try:
            pools: dict[str, bool] = {}
            if not self._deployments_only:
                bring_blocks(stage, blocks, resolved)
                pools = bring_pools(stage, desired.pools)
            self._deployments = DeploymentStage(stage, desired.project, pools)
            self._deployments.bring(desired.deployments, resolved)
            self._bring_triggers(desired)
            if desired.automations is not None and not self._deployments_only:
                targets = notification_targets(stage, tuple(blocks))
                bring_automations(stage, with_notifications(desired.automations, targets), ALERTS)
            catch_up_pools(stage, pools)
            if not self._deployments_only:
                bring_block_types(stage)  # last: no flow waits for them
        finally:
            if not stage.plan_only and stage.memory != self._before:
                stage.memory.save(self._environment)
        return self.report

    def _bring_triggers(self, desired: Desired) -> None:
        ids = self._deployments.ids
        specs: list[AutomationSpec] = []
        untouched: list[str] = []
        for spec in desired.deployments:
            if spec.name in ids:
                specs += trigger_automations(spec.triggers, ids[spec.name])
            else:
                untouched += [str(trigger["name"]) for trigger in spec.triggers]
        bring_automations(self._stage, specs, f"triggers of {desired.project}", untouched)

    def note_missing_password(self) -> None:
        """Say that Yeedu flows find no password when neither the environment nor the server has one."""
        note_missing_password(self._stage)
