"""Starts a run, for requests of every generation."""

import asyncio
import copy
import time
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel, Field

from yeedu_mock.errors import AbandonedError, ConflictError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import TheMock, TheSession, TheWorkspace
from yeedu_mock.state.enums import ClusterStatus
from yeedu_mock.state.records import Cluster, JobDefinition, NotebookDefinition, Run, Session, Workspace

POLL_SECONDS = 0.02


class StartOptions(BaseModel):
    """What every request that starts a run may contain besides the definition's id or name."""

    arguments: str | None = Field(default=None, max_length=100_000)
    conf: list[str] | None = Field(default=None, max_length=1000)


class Submission:
    """A request that starts a run."""

    def __init__(self, request: Request, mock: Mock, session: Session, workspace: Workspace) -> None:
        self._request = request
        self._mock = mock
        self._session = session
        self._workspace = workspace

    async def start(
        self,
        definition: JobDefinition | NotebookDefinition,
        options: StartOptions,
        *,
        is_background: bool = True,
    ) -> Run:
        """Submit a run of a definition; arguments replace, and conf extends, the definition's.

        Raises:
            ConflictError: The definition, its workspace or its cluster refuses it.
            AbandonedError: The client has gone, and switches say that nothing starts then.
        """
        switches = self._mock.control.switches
        self._refuse_switched_off(definition)
        await self._cluster_runs(definition)
        self._refuse_excess(definition)
        run = self._new_run(definition, options, is_background=is_background)
        is_first = switches.submission_shows_run and switches.accepts_abandoned
        if is_first:
            self._mock.runs.submit(run, definition)
        await self._wait(switches.submission_seconds)
        return run if is_first else self._mock.runs.submit(run, definition)

    def _new_run(
        self,
        definition: JobDefinition | NotebookDefinition,
        options: StartOptions,
        *,
        is_background: bool,
    ) -> Run:
        content: dict[str, Any] | None = None
        if isinstance(definition, NotebookDefinition):
            content = copy.deepcopy(definition.content)
        return Run(
            type="job" if isinstance(definition, JobDefinition) else "notebook",
            definition_id=definition.id,
            definition_name=definition.name,
            workspace_id=self._workspace.id,
            tenant=self._workspace.tenant,
            cluster_id=definition.cluster_id,
            arguments=definition.arguments if options.arguments is None else options.arguments,
            conf=definition.conf + (options.conf or []),
            is_background=is_background,
            created_by=self._mock.sessions.user(self._session).username,
            notebook=content,
        )

    def _refuse_switched_off(self, definition: JobDefinition | NotebookDefinition) -> None:
        for what in (self._workspace, definition, self._cluster(definition)):
            if what is not None and not what.is_enabled:
                raise self._refusal(
                    f"The {what.kind} {what.id} is disabled; enable it before running anything."
                )

    async def _cluster_runs(self, definition: JobDefinition | NotebookDefinition) -> None:
        """Wait until the cluster runs; a definition that is bound to none needs none."""
        switches = self._mock.control.switches
        cluster = self._cluster(definition)
        if cluster is None or switches.stopped_cluster == "ignore":
            return
        starts = switches.stopped_cluster == "start"
        if starts and cluster.status is ClusterStatus.STOPPED:
            self._mock.clusters.start(cluster)
        while starts and cluster.status is ClusterStatus.INITIATING:
            await self._wait(POLL_SECONDS)
        if cluster.status is not ClusterStatus.RUNNING:
            raise self._refusal(f"The cluster {cluster.id} is {cluster.status}; it must be RUNNING.")

    def _refuse_excess(self, definition: JobDefinition | NotebookDefinition) -> None:
        limit = definition.max_concurrency
        if not limit or self._mock.control.switches.max_concurrency != "refuse":
            return
        if sum(run.definition_key == definition.key for run in self._mock.runs.unfinished()) >= limit:
            raise self._refusal(
                f"The {definition.kind} {definition.id} has {limit} runs, which is its max_concurrency."
            )

    async def _wait(self, seconds: float) -> None:
        """Keep the client waiting."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, POLL_SECONDS))
            if not self._mock.control.switches.accepts_abandoned and await self._request.is_disconnected():
                raise AbandonedError("The client has gone, so that nothing was started.")

    def _cluster(self, definition: JobDefinition | NotebookDefinition) -> Cluster | None:
        return None if definition.cluster_id is None else self._mock.store.get(Cluster, definition.cluster_id)

    def _refusal(self, message: str) -> ConflictError:
        return ConflictError(message, status=self._mock.control.switches.refusal_status)


async def _submission(
    request: Request, mock: TheMock, session: TheSession, workspace: TheWorkspace
) -> Submission:
    return Submission(request, mock, session, workspace)


TheSubmission = Annotated[Submission, Depends(_submission)]
