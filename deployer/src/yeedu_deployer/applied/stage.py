"""What the parts of one run of the deployer share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect.client.orchestration import SyncPrefectClient

from yeedu_deployer.configuration import Configuration
from yeedu_deployer.declared.block_names import BlockNames
from yeedu_deployer.planned.diff import FieldChange
from yeedu_deployer.planned.plan import Action
from yeedu_deployer.report import Outcome, Report
from yeedu_deployer.state import Memory

OUTCOMES = {
    Action.CREATE: (Outcome.CREATED, Outcome.TO_CREATE),
    Action.CHANGE: (Outcome.CHANGED, Outcome.TO_CHANGE),
    Action.REMOVE: (Outcome.PRUNED, Outcome.TO_PRUNE),
    Action.UNCHANGED: (Outcome.UNCHANGED, Outcome.UNCHANGED),
}


@dataclass(frozen=True)
class Stage:
    """One run of the deployer against one server.

    Attributes:
        client: An open client.
        configuration: What the environment says.
        environment: The environment itself, for templates in pull steps.
        memory: What was applied so far; the parts write what they applied into it.
        report: What was found and done so far.
        plan_only: Whether to find out what would be done and write nothing.
        block_names: How the blocks that hold credentials are called.
    """

    client: SyncPrefectClient
    configuration: Configuration
    environment: Mapping[str, str]
    memory: Memory
    report: Report
    plan_only: bool = False
    block_names: BlockNames = field(default_factory=BlockNames)

    def tell(
        self,
        kind: str,
        name: str,
        action: Action,
        detail: str = "",
        link: str = "",
        changes: tuple[FieldChange, ...] = (),
    ) -> None:
        """Report what was done to an object, or would be."""
        done, planned = OUTCOMES[action]
        self.report.add(kind, name, planned if self.plan_only else done, detail, link, changes)

    def link(self, path: str) -> str:
        """Form the address of a page of the UI."""
        return f"{self.configuration.ui_url}/{path}"
