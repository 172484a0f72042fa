"""Remember to which cluster a definition really belongs, for whoever comes after a crash.

The record is one of the definition, not of the flow run: where that is not run again, the next one finds it.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from prefect_yeedu.flow_run.prefect_server import FAILURES, patiently
from prefect_yeedu.runs.submission import ClusterMove

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Artifact

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0


class ClusterRecord:
    """Says in an artifact that a definition was moved to another cluster and is to be moved back.

    That the Prefect server cannot be reached is only a warning: the call itself moves the definition back.

    Args:
        definition: Names the job or notebook.
        title: For the artifact's text.
        call: Names the call of the flow run.
        flow_run_id: The flow run, to whose artifacts the record belongs.
        task_run_id: The task run, where the call is made in one.
    """

    def __init__(
        self, definition: str, title: str, call: str, *, flow_run_id: UUID | None, task_run_id: UUID | None
    ) -> None:
        self._key = f"yeedu-cluster-{hashlib.sha256(definition.encode()).hexdigest()[:24]}"
        self._title = title
        self._call = call
        self._flow_run_id = flow_run_id
        self._task_run_id = task_run_id
        self._artifact_id: UUID | None = None

    def read(self) -> ClusterMove | None:
        """Return the move that was not undone, by whichever call it was made."""
        try:
            artifact = patiently(self._read, PATIENCE_SECONDS)
        except FAILURES as error:
            logger.warning("Whether %s was left on another cluster is not known: %r", self._title, error)
            return None
        fields = artifact.metadata_ or {} if artifact is not None else {}
        own_cluster, cluster = fields.get("own_cluster", ""), fields.get("cluster", "")
        if artifact is None or not (own_cluster.isdigit() and cluster.isdigit()):
            return None
        self._artifact_id = artifact.id
        return ClusterMove(int(own_cluster), int(cluster), is_of_this_call=fields.get("call") == self._call)

    def note(self, own_cluster: int, cluster: int) -> None:
        """Record a move that is about to be made."""
        text = f"{self._title} belongs to cluster {own_cluster} and was moved to {cluster}."
        self._write(text, {"own_cluster": str(own_cluster), "cluster": str(cluster), "call": self._call})

    def forget(self) -> None:
        """Record that the move was undone."""
        if self._artifact_id is not None:
            self._write(f"{self._title} is on its own cluster.", {})
            self._artifact_id = None

    def _write(self, text: str, fields: dict[str, str]) -> None:
        def write(client: SyncPrefectClient) -> UUID | None:
            if self._artifact_id is None:
                return client.create_artifact(self._artifact(text, fields)).id
            client.update_artifact(self._artifact_id, ArtifactUpdate(data=text, metadata_=fields))
            return self._artifact_id

        try:
            self._artifact_id = patiently(write, PATIENCE_SECONDS)
        except FAILURES as error:
            logger.warning("The cluster of %s could not be recorded: %r", self._title, error)

    def _artifact(self, text: str, fields: dict[str, str]) -> ArtifactCreate:
        return ArtifactCreate(
            key=self._key,
            type="markdown",
            description=f"On which cluster {self._title} is.",
            data=text,
            metadata_=fields,
            flow_run_id=self._flow_run_id,
            task_run_id=self._task_run_id,
        )

    def _read(self, client: SyncPrefectClient) -> Artifact | None:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[self._key]))
        found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
        return found[0] if found else None
