"""Finds the flow runs that are suspended until a remote run has ended, and resumes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus

from prefect_yeedu.errors import YeeduPrefectError
from prefect_yeedu.flow_run.prefect_server import (
    ask_prefect,
    iterate_artifacts,
    iterate_flow_runs,
    retry_within,
)
from prefect_yeedu.flow_run.record_fields import Definition, read_record, record_of_pause
from prefect_yeedu.models import Generation
from prefect_yeedu.retry_policy import ONCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

# A server that is briefly overloaded is asked again; one that is unreachable, in the next round.
RESUME_RETRIES = retry_within(5.0)
_IDS = 200  # how many records are asked for at once
_SUSPENDED = FlowRunFilter(
    state=FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.PAUSED]),
        name=FlowRunFilterStateName(any_=["Suspended"]),
    )
)


@dataclass(frozen=True)
class DeferredRun:
    """A flow run that is suspended until a remote run has ended.

    Attributes:
        flow_run_id: The flow run.
        pause_key: The key of its pause; another pause of the same flow run waits for something else.
        record_id: The remote run's record.
        fields: What the record holds; empty if it is gone.
    """

    flow_run_id: UUID
    pause_key: str
    record_id: UUID
    fields: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def run_id(self) -> int | None:
        """The remote run."""
        return read_record(self.fields).run_id

    @property
    def definition(self) -> Definition | None:
        """The remote run's job or notebook; None if the record does not say."""
        return Definition.read(self.fields)

    @property
    def generation(self) -> Generation:
        """Which API generation its Yeedu speaks."""
        return Generation(self.fields.get("generation") or Generation.V2)

    @property
    def since(self) -> float:
        """The earliest time at which the remote run can have started, in seconds since 1970."""
        return read_record(self.fields).intended_at

    def is_over(self, now: float) -> bool:
        """Return whether the remote run's budget is used up at a time in seconds since 1970."""
        until = read_record(self.fields).deferred_until
        return until is not None and now >= until


def find_deferred_runs() -> list[DeferredRun]:
    """Return the flow runs that are suspended until a remote run has ended, with two queries for each 200.

    Raises:
        YeeduPrefectError: The Prefect server does not answer, or refuses.
    """
    return ask_prefect(_find, "for suspended flow runs", ONCE)


def resume(run: DeferredRun) -> bool:
    """Resume a flow run, unless it already goes on or is paused for another reason.

    Returns:
        Whether it was resumed.

    Raises:
        YeeduPrefectError: The Prefect server does not answer, does not resume it, or knows no such flow run.
    """

    def ask(client: SyncPrefectClient) -> bool:
        # Whatever paused it meanwhile may wait for a person, whose decision must not be preempted.
        if _pause_key(client.read_flow_run(run.flow_run_id)) != run.pause_key:
            return False
        answer = client.resume_flow_run(run.flow_run_id)
        if answer.status is SetStateStatus.REJECT:
            raise YeeduPrefectError(
                f"Prefect does not resume it: {getattr(answer.details, 'reason', '') or 'no reason is given'}"
            )
        return answer.status is SetStateStatus.ACCEPT

    return ask_prefect(ask, f"to resume flow run {run.flow_run_id}", RESUME_RETRIES)


def _find(client: SyncPrefectClient) -> list[DeferredRun]:
    found = [
        DeferredRun(flow_run.id, key, record_id)
        for flow_run in iterate_flow_runs(client, _SUSPENDED)
        if (key := _pause_key(flow_run)) and (record_id := record_of_pause(key)) is not None
    ]
    fields: dict[UUID, Mapping[str, str]] = {}
    for start in range(0, len(found), _IDS):
        ids = [run.record_id for run in found[start : start + _IDS]]
        for artifact in iterate_artifacts(client, ArtifactFilter(id=ArtifactFilterId(any_=ids))):
            fields[artifact.id] = artifact.metadata_ or {}
    return [
        DeferredRun(run.flow_run_id, run.pause_key, run.record_id, fields.get(run.record_id, {}))
        for run in found
    ]


def _pause_key(flow_run: FlowRun) -> str:
    """Return the key of the pause that a flow run is in; empty if it is in none."""
    state = flow_run.state
    return (state.state_details.pause_key or "") if state is not None and state.is_paused() else ""
