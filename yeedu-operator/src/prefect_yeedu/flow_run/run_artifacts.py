"""Shows a notebook's output in Prefect: pictures, tables as text, and its progress."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, TaskRunContext

from prefect_yeedu.flow_run.prefect_server import FAILURES

if TYPE_CHECKING:
    from uuid import UUID

    from prefect_yeedu.models import Output

logger = logging.getLogger(__name__)

MAX_ARTIFACTS = 20
MAX_ARTIFACT_CHARACTERS = 1_000_000
PROGRESS_SECONDS = 2.0


class RunArtifacts:
    """Creates the artifacts of one notebook run; outside of flow and task runs it creates none.

    A notebook never fails because an artifact cannot be created.

    Args:
        kind: What is run.
        definition: Its id; with the kind it names the artifacts, such as `yeedu-notebook-5-cell-1`.

    Attributes:
        run_url: The run's page in Yeedu's user interface, once there is a run.
    """

    def __init__(self, kind: str, definition: int) -> None:
        self._name = f"yeedu-{kind}-{definition}"
        self._title = f"Yeedu {kind} {definition}"
        self.run_url = ""
        flow_context, task_context = FlowRunContext.get(), TaskRunContext.get()
        flow_run = flow_context.flow_run if flow_context is not None else None
        self._flow_run_id: UUID | None = flow_run.id if flow_run is not None else None
        self._task_run_id: UUID | None = task_context.task_run.id if task_context is not None else None
        self._count = 0
        self._progress_id: UUID | None = None
        self._progress_at = float("-inf")

    def show(self, index: int, output: Output) -> None:
        """Create an artifact of a picture, or of a table as text with a link; ignore other outputs."""
        image = output.data.get("image/png")
        if image is not None:
            self._make(index, "image", "data:image/png;base64," + "".join(image.split()))
        if "<table" in output.data.get("text/html", ""):
            # Longer than any row of backticks inside, so that the text cannot end the block.
            fence = "`" * max(3, *(len(row) + 1 for row in re.findall("`+", output.text)), 0)
            link = f"[As Yeedu shows it]({self.run_url})" if self.run_url else ""
            self._make(index, "markdown", f"{fence}text\n{output.text}\n{fence}\n\n{link}\n")

    def show_progress(self, done: int, total: int) -> None:
        """Show how many cells are done, at most every two seconds, except for the last."""
        now = time.monotonic()
        is_due = now - self._progress_at >= PROGRESS_SECONDS or done == total
        if not total or not is_due or (self._flow_run_id is None and self._task_run_id is None):
            return
        self._progress_at = now
        percent = 100.0 * done / total
        description = f"{self._title}: {done} of {total} cells are done."
        try:
            with get_client(sync_client=True) as client:
                if self._progress_id is None:
                    artifact = self._artifact("progress", "progress", percent, description)
                    self._progress_id = client.create_artifact(artifact).id
                else:
                    update = ArtifactUpdate(data=percent, description=description)
                    client.update_artifact(self._progress_id, update)
        except FAILURES as error:
            logger.debug("The progress could not be shown: %r", error)

    def _make(self, index: int, kind: str, data: str) -> None:
        if self._flow_run_id is None and self._task_run_id is None:
            return
        if self._count >= MAX_ARTIFACTS or len(data) > MAX_ARTIFACT_CHARACTERS:
            logger.debug("An output of cell %d is too much to be an artifact.", index)
            return
        self._count += 1
        artifact = self._artifact(f"cell-{index}", kind, data, f"{self._title}: output of cell {index}.")
        try:
            with get_client(sync_client=True) as client:
                client.create_artifact(artifact)
        except FAILURES as error:
            logger.debug("An output of cell %d could not be shown: %r", index, error)

    def _artifact(self, suffix: str, kind: str, data: str | float, description: str) -> ArtifactCreate:
        return ArtifactCreate(
            key=f"{self._name}-{suffix}",
            type=kind,
            data=data,
            description=description,
            flow_run_id=self._flow_run_id,
            task_run_id=self._task_run_id,
        )
