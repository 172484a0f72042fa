"""Start a run, whichever generation asks for it."""

import copy
from typing import Any

from pydantic import BaseModel, Field

from yeedu_mock.errors import ConflictError
from yeedu_mock.mock import Mock
from yeedu_mock.state.records import Cluster, JobDefinition, NotebookDefinition, Run, Session, Workspace


class StartOptions(BaseModel):
    """What every request that starts a run may carry besides the definition's id or name."""

    arguments: str | None = Field(default=None, max_length=100_000)
    conf: list[str] | None = Field(default=None, max_length=1000)


def start_run(
    mock: Mock,
    session: Session,
    workspace: Workspace,
    definition: JobDefinition | NotebookDefinition,
    options: StartOptions,
    *,
    is_background: bool = True,
) -> Run:
    """Submit a run of a definition; the options' arguments replace, their conf extends the definition's.

    Raises:
        ConflictError: The definition, its workspace or its cluster is disabled, or the cluster does not run.
    """
    _refuse_switched_off(mock, workspace, definition)
    content: dict[str, Any] | None = None
    if isinstance(definition, NotebookDefinition):
        content = copy.deepcopy(definition.content)
    run = Run(
        type="job" if isinstance(definition, JobDefinition) else "notebook",
        definition_id=definition.id,
        definition_name=definition.name,
        workspace_id=workspace.id,
        tenant=workspace.tenant,
        cluster_id=definition.cluster_id,
        arguments=definition.arguments if options.arguments is None else options.arguments,
        conf=definition.conf + (options.conf or []),
        is_background=is_background,
        created_by=mock.sessions.user(session).username,
        notebook=content,
    )
    return mock.runs.submit(run, definition)


def _refuse_switched_off(
    mock: Mock, workspace: Workspace, definition: JobDefinition | NotebookDefinition
) -> None:
    """Do nothing if all that a run needs is switched on; what is bound to no cluster needs none."""
    cluster = None if definition.cluster_id is None else mock.store.get(Cluster, definition.cluster_id)
    for what in (workspace, definition, *([cluster] if cluster else [])):
        if not what.is_enabled:
            raise ConflictError(f"The {what.kind} {what.id} is disabled; enable it before running anything.")
    if cluster is not None and cluster.status != "RUNNING":
        raise ConflictError(f"The cluster {cluster.id} is {cluster.status}; it must be RUNNING.")
