"""Emits Prefect events about a remote run, for automations, and about its outputs, for lineage.

Prefect adds the flow run, its deployment and its work pool to each event by itself. It sends events in the
background, so that a lost one never makes a run fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect.events import emit_event

from prefect_yeedu.errors import YeeduRunError
from prefect_yeedu.models import RunState
from prefect_yeedu.urls import TargetKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect_yeedu.client.connection import Connection
    from prefect_yeedu.models import YeeduResult
    from prefect_yeedu.urls import Target

SUBMITTED = "yeedu.run.submitted"
ENDED = "yeedu.run.ended"
MATERIALIZED = "prefect.asset.materialization.succeeded"
MAX_PLACE_CHARACTERS = 450  # a key may have 512
_UNUSUAL = re.compile(r"[^A-Za-z0-9._:/-]")


@dataclass(frozen=True)
class RunEvents:
    """The events of the runs of one job or notebook.

    Attributes:
        place: The workspace, with its server and tenant.
        target: The job or notebook, or the run that was given by its own address.
    """

    place: str
    target: Target

    @classmethod
    def of(cls, connection: Connection, target: Target) -> RunEvents:
        """Return the events of a target on a server; asset keys allow few characters besides letters."""
        server = connection.origin.partition("://")[2]
        place = f"{server}/tenant/{connection.tenant}/workspace/{target.workspace_id}"
        return cls(f"yeedu://{_UNUSUAL.sub('_', place)}"[:MAX_PLACE_CHARACTERS], target)

    @property
    def asset_key(self) -> str:
        """The key of the job or notebook as one of Prefect's assets."""
        return f"{self.place}/{self.target.kind}/{self.target.id}"

    @property
    def name(self) -> str:
        """Its name for people, such as `Yeedu job 5`."""
        return f"Yeedu {self.target.kind} {self.target.id}"

    def submitted(self, run_id: int, url: str, *, is_new: bool) -> None:
        """Emit the event that Yeedu has a run, or that an earlier attempt's was found again."""
        self._emit(SUBMITTED, run_id, url, is_new=is_new)

    def ended(self, run_id: int, url: str, state: str, *, is_success: bool) -> None:
        """Emit the event that a run has ended; a success materializes the asset."""
        self._emit(ENDED, run_id, url, state=state, is_success=is_success)
        if is_success and self.target.kind is not TargetKind.RUN:  # a run's own address does not name its job
            emit_event(
                MATERIALIZED,
                resource={
                    "prefect.resource.id": self.asset_key,
                    "prefect.resource.name": self.name,
                    "prefect.asset.url": url,
                },
                related=[{"prefect.resource.id": "yeedu", "prefect.resource.role": "asset-materialized-by"}],
                payload={"run_id": run_id, "url": url},
            )

    def reported(self, finish: Callable[[], YeeduResult]) -> YeeduResult:
        """Return or raise what a call does, and emit the event of the end that it saw."""
        try:
            result = finish()
        except YeeduRunError as error:
            state = RunState(error.state or "")
            if error.run_id is not None and state.is_terminal:
                # A job may have succeeded while its call was being stopped; a notebook's run cannot.
                is_success = state.is_success and self.target.kind is not TargetKind.NOTEBOOK
                self.ended(error.run_id, error.run_url or "", state, is_success=is_success)
            raise
        if result.run_id is not None:
            self.ended(result.run_id, result.url, result.state, is_success=True)
        return result

    def _emit(self, event: str, run_id: int, url: str, **payload: object) -> None:
        emit_event(
            event,
            resource={
                "prefect.resource.id": f"{self.place}/run/{run_id}",
                "prefect.resource.name": f"Yeedu run {run_id}",
                "yeedu.url": url,
                **({"yeedu.state": str(payload["state"])} if "state" in payload else {}),
            },
            related=[
                {
                    "prefect.resource.id": self.asset_key,
                    "prefect.resource.name": self.name,
                    "prefect.resource.role": f"yeedu-{self.target.kind}",
                }
            ],
            payload={"run_id": run_id, "url": url, **payload},
        )
