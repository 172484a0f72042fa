"""Brings the server to the desired state, part by part; a part that fails does not stop the others."""

from collections.abc import Mapping

from prefect.client.orchestration import SyncPrefectClient

from yeedu_deployer.applied.automation_stage import (
    bring_automations,
    notification_targets,
    trigger_automations,
    with_notifications,
)
from yeedu_deployer.applied.block_stage import (
    bring_blocks,
    find_value,
    note_missing_blocks,
    note_missing_password,
    token_block,
)
from yeedu_deployer.applied.block_type_stage import bring_block_types
from yeedu_deployer.applied.catch_up_stage import catch_up_pools
from yeedu_deployer.applied.deployment_stage import DeploymentStage
from yeedu_deployer.applied.pool_stage import bring_pools
from yeedu_deployer.applied.stage import Stage
from yeedu_deployer.configuration import Configuration
from yeedu_deployer.declared.desired import Desired
from yeedu_deployer.inspection.inspector import FlowInspector
from yeedu_deployer.planned.credentials import plan_blocks
from yeedu_deployer.planned.sources import resolve_deployments
from yeedu_deployer.planned.status import DeploymentStatus, read_status
from yeedu_deployer.report import Outcome, Report
from yeedu_deployer.state import Memory

ALERTS = "alerts"


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
        desired: Desired,
        *,
        plan_only: bool = False,
        deployments_only: bool = False,
    ) -> None:
        """Prepare for one run.

        Args:
            client: An open client.
            configuration: What the environment says.
            environment: The environment itself, for templates in pull steps.
            inspector: Imports the flows.
            desired: The desired state.
            plan_only: Whether to find out what would be done and write nothing.
            deployments_only: Whether blocks, pools and alerts are left alone, as with `Desired.only`.
        """
        self.report = Report(configuration.secrets)
        self._inspector = inspector
        self._desired = desired
        memory = Memory.load(client, desired.environment)
        self._deployments_only = deployments_only or desired.only is not None
        self._has_blocks = not self._deployments_only and (
            not desired.environment or bool(desired.block_names.environment)
        )
        self._before = memory.model_copy(deep=True)
        self._stage = Stage(
            client, configuration, environment, memory, self.report, plan_only, desired.block_names
        )

    def status(self) -> list[DeploymentStatus]:
        """Compare the server's deployments with the file; only for a deployer that plans.

        Raises:
            ServerError: The server cannot be used at all.
        """
        self.run()
        done = self._deployments
        known = {plan.definition.name for plan in done.plans}
        failed = [spec.name for spec in self._desired.deployments if spec.name not in known]
        rows = read_status(self._stage.client, done.plans, done.dropped, failed)
        return rows if self._desired.only is None else [row for row in rows if row.name in {*known, *failed}]

    def run(self) -> Report:
        """Deal with blocks, pools and deployments in this order; failures are in the report.

        Raises:
            ServerError: The server cannot be used at all.
        """
        stage = self._stage
        blocks = plan_blocks(stage.client, stage.configuration, stage.memory.blocks, stage.block_names)
        token = token_block(stage, blocks, looks_on_server=self._deployments_only)
        resolved = resolve_deployments(
            self._desired.deployments,
            stage.environment,
            token,
            lambda kind, name, key: find_value(stage, kind, name, key, blocks),
            self._inspector,
            stage.block_names,
        )
        for url, note in resolved.notes.items():
            stage.report.add("source", url, Outcome.UNCHANGED, note)
        desired = self._desired = self._desired.without_other_flows(resolved)
        try:
            pools: dict[str, bool] = {}
            if self._has_blocks:
                bring_blocks(stage, blocks, resolved)
            if not self._deployments_only:
                pools = bring_pools(stage, desired.pools)
            self._deployments = DeploymentStage(
                stage,
                desired.project,
                pools,
                prunes=desired.only is None,
                keeps_token=bool(token) and token not in blocks,
            )
            self._deployments.bring(desired.deployments, resolved)
            self._bring_triggers(desired)
            if not self._has_blocks:
                note_missing_blocks(stage, resolved, desired.environment, token)
            if desired.automations is not None and not self._deployments_only:
                targets = notification_targets(stage, tuple(blocks))
                bring_automations(stage, with_notifications(desired.automations, targets), ALERTS)
            catch_up_pools(stage, pools)
            if not self._deployments_only and not desired.environment:
                bring_block_types(stage)  # last: no flow waits for them
        finally:
            if not stage.plan_only and stage.memory != self._before:
                stage.memory.save(desired.environment)
        return self.report

    def _bring_triggers(self, desired: Desired) -> None:
        ids = self._deployments.ids
        specs = [
            automation
            for spec in desired.deployments
            if spec.name in ids
            for automation in trigger_automations(spec.triggers, ids[spec.name])
        ]
        untouched: list[str] = []
        for spec in desired.deployments:
            if spec.name not in ids:
                untouched += [str(trigger["name"]) for trigger in spec.triggers]
        scope, prunes = f"triggers of {desired.project}", desired.only is None
        bring_automations(self._stage, specs, scope, untouched, prunes=prunes)

    def note_missing_password(self) -> None:
        """Say that Yeedu flows find no password when neither the environment nor the server has one."""
        if self._has_blocks:
            note_missing_password(self._stage)
