"""What the flow run's artifacts say about its remote runs: the only place that knows how they say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient

PREFIX = "yeedu-"


@dataclass(frozen=True)
class Recorded:
    """One remote run on record.

    Attributes:
        run_id: Yeedu's id; None as long as it is not known.
        kind: `job` or `notebook`; None where the record does not say.
        is_ended: Whether the record says that the end was seen.
        state: The terminal state that was seen.
        is_none: Whether the record says that Yeedu has certainly started nothing.
    """

    run_id: int | None
    kind: str | None
    is_ended: bool
    state: str
    is_none: bool = False


def read_records(prefect: SyncPrefectClient, flow_run_id: UUID) -> list[Recorded]:
    """Return what is on record for a flow run."""
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(like_=f"{PREFIX}%"), flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id])
    )
    found = [artifact.metadata_ or {} for artifact in prefect.read_artifacts(artifact_filter=wanted)]
    # Other artifacts of a run have neither; `outcome` is what records had before they had a phase.
    return [_recorded(fields) for fields in found if fields.get("phase") or fields.get("key")]


def _recorded(fields: dict[str, Any]) -> Recorded:
    run_id = str(fields.get("run_id") or "")
    is_ended = fields["phase"] == "ended" if "phase" in fields else bool(fields.get("outcome"))
    return Recorded(
        run_id=int(run_id) if run_id.isdigit() else None,
        kind=fields.get("kind") or None,
        is_ended=is_ended,
        state=str(fields.get("state") or "").upper(),
        is_none="phase" in fields and not run_id and not fields.get("intended_at"),
    )
