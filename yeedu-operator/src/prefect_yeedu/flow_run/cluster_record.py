"""Records the cluster that a definition is normally bound to, so that a crash cannot leave it moved.

The record belongs to the definition, not to the flow run: if that is not run again, the next one finds it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from prefect_yeedu.errors import YeeduPrefectError
from prefect_yeedu.flow_run.prefect_server import ask_prefect, iterate_artifacts, retry_within
from prefect_yeedu.flow_run.record_fields import Definition
from prefect_yeedu.runs.record import ClusterMove

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Artifact

logger = logging.getLogger(__name__)

RETRIES = retry_within(20.0)


class ClusterRecord:
    """Records in an artifact that a definition was moved to another cluster and has to be moved back.

    An unreachable Prefect server causes only a warning, because the call itself moves the definition back.

    Args:
        definition: The job or notebook.
        call: The name of the flow run's call.
        flow_run_id: The flow run that the artifact belongs to.
        task_run_id: The task run, if the call is made in one.
    """

    def __init__(
        self, definition: Definition, call: str, *, flow_run_id: UUID | None, task_run_id: UUID | None
    ) -> None:
        self._definition = definition
        self._key = f"yeedu-cluster-of-{definition.kind}-{definition.id}"
        self._call = call
        self._flow_run_id = flow_run_id
        self._task_run_id = task_run_id
        self._artifact_id: UUID | None = None

    def read(self) -> ClusterMove | None:
        """Return the move that was not undone, whichever call made it."""
        try:
            artifact = ask_prefect(self._read, f"for the cluster of {self._definition.title}", RETRIES)
        except YeeduPrefectError as error:
            logger.warning(
                "Whether %s was left on another cluster is not known: %s", self._definition.title, error
            )
            return None
        fields = artifact.metadata_ or {} if artifact is not None else {}
        own_cluster, cluster = fields.get("own_cluster", ""), fields.get("cluster", "")
        if artifact is None or not (own_cluster.isdigit() and cluster.isdigit()):
            return None
        self._artifact_id = artifact.id
        return ClusterMove(int(own_cluster), int(cluster), is_of_this_call=fields.get("call") == self._call)

    def note(self, own_cluster: int, cluster: int) -> None:
        """Record a move that is about to be made."""
        text = f"{self._definition.title} belongs to cluster {own_cluster} and was moved to {cluster}."
        self._write(text, {"own_cluster": str(own_cluster), "cluster": str(cluster), "call": self._call})

    def forget(self) -> None:
        """Record that the move was undone."""
        if self._artifact_id is not None:
            self._write(f"{self._definition.title} is on its own cluster.", {})
            self._artifact_id = None

    def _write(self, text: str, moved: dict[str, str]) -> None:
        fields = {**self._definition.fields(), **moved}

        def write(client: SyncPrefectClient) -> UUID | None:
            if self._artifact_id is None:
                return client.create_artifact(self._artifact(text, fields)).id
            client.update_artifact(self._artifact_id, ArtifactUpdate(data=text, metadata_=fields))
            return self._artifact_id

        title = self._definition.title
        try:
            self._artifact_id = ask_prefect(write, f"to record the cluster of {title}", RETRIES)
        except YeeduPrefectError as error:
            logger.warning("The cluster of %s could not be recorded: %s", title, error)

    def _artifact(self, text: str, fields: dict[str, str]) -> ArtifactCreate:
        return ArtifactCreate(
            key=self._key,
            type="markdown",
            description=f"On which cluster {self._definition.title} is.",
            data=text,
            metadata_=fields,
            flow_run_id=self._flow_run_id,
            task_run_id=self._task_run_id,
        )

    def _read(self, client: SyncPrefectClient) -> Artifact | None:
        """Return the definition's newest record; one with the same id elsewhere has the same key."""
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[self._key]))
        found = iterate_artifacts(client, wanted)
        return next((one for one in found if Definition.read(one.metadata_ or {}) == self._definition), None)
