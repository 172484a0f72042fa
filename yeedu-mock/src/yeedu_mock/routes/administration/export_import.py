"""Exports jobs, notebooks and whole workspaces as `.yeedu` files, and imports such files."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yeedu_mock.errors import BadRequestError, ConflictError, MockError, NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import (
    TheMock,
    TheSession,
    WorkspaceToView,
    require,
    tenant_of,
)
from yeedu_mock.routes.definitions import (
    DefinitionRequest,
    change,
    definition_fields,
    find_cluster,
    new_definition,
)
from yeedu_mock.routes.responses import json_file
from yeedu_mock.routes.workspaces import add_workspace
from yeedu_mock.state.enums import WorkspacePermission
from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Session, Workspace

router = APIRouter(prefix="/workspace", tags=["workspaces"])

AnyDefinition = JobDefinition | NotebookDefinition
KINDS: dict[str, type[JobDefinition] | type[NotebookDefinition]] = {
    "jobs": JobDefinition,
    "notebooks": NotebookDefinition,
}
# What an export says about its origin, and an import sets afresh.
OF_THE_ORIGINAL = {
    *("job_id", "notebook_id", "workspace_id", "spark_job_type"),
    *("created_by", "created_at", "modified_by", "modified_at"),
}


class WorkspaceDescription(BaseModel):
    """The workspace that a file was exported from."""

    name: str | None = Field(default=None, min_length=1, max_length=255)
    description: str = ""


class WorkspaceImport(BaseModel):
    """What a `.yeedu` file contains: the export of a workspace, or of one job or notebook."""

    model_config = ConfigDict(extra="allow")

    workspace: WorkspaceDescription = Field(default_factory=WorkspaceDescription)
    jobs: list[dict[str, Any]] | None = Field(default=None, max_length=10_000)
    notebooks: list[dict[str, Any]] | None = Field(default=None, max_length=10_000)

    def items(self) -> list[tuple[type[JobDefinition] | type[NotebookDefinition], dict[str, Any]]]:
        """Return the definitions in the file, the jobs first."""
        single = self.model_extra or {}
        jobs, notebooks = self.jobs or [], self.notebooks or []
        if "job_id" in single:
            jobs = [*jobs, single]
        elif "notebook_id" in single:
            notebooks = [*notebooks, single]
        return [*((JobDefinition, job) for job in jobs), *((NotebookDefinition, one) for one in notebooks)]


class Target:
    """The workspace to import into, and the drafts to store there.

    Args:
        mock: The mock.
        session: The session that imports.
        workspace: The workspace; one without an id is new.
        cluster_id: The cluster to bind everything to; None keeps the exported ones.
        overwrite: Whether to replace existing jobs and notebooks of the same name.
    """

    def __init__(
        self, mock: Mock, session: Session, workspace: Workspace, cluster_id: int | None, *, overwrite: bool
    ) -> None:
        self._mock = mock
        self._session = session
        self.workspace = workspace
        self._cluster_id = cluster_id
        self._overwrite = overwrite
        self.drafts: list[AnyDefinition] = []

    def prepare(self, kind: type[JobDefinition] | type[NotebookDefinition], item: dict[str, Any]) -> None:
        """Make a draft from an exported definition.

        Raises:
            MockError: It cannot be imported.
        """
        fields = {key: value for key, value in item.items() if key not in OF_THE_ORIGINAL}
        if self._cluster_id is not None:
            fields["cluster_id"] = self._cluster_id
        is_enabled = fields.pop("enable", True) is not False
        try:
            request = DefinitionRequest.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BadRequestError(f"A {kind.kind} is wrong at {place}: {first['msg']}.") from error
        name = request.notebook_name or request.name
        if any(type(draft) is kind and draft.name == name for draft in self.drafts):
            raise ConflictError(f"The {kind.kind} {name} is there twice.")
        draft = self._draft(kind, name, request)
        draft.is_enabled = is_enabled
        self.drafts.append(draft)

    def _draft(
        self,
        kind: type[JobDefinition] | type[NotebookDefinition],
        name: str | None,
        request: DefinitionRequest,
    ) -> AnyDefinition:
        if self._overwrite:
            for known in self._mock.store.all(kind):
                if known.workspace_id == self.workspace.id and known.name == name:
                    draft = known.model_copy(deep=True)
                    change(self._mock, self.workspace, draft, request, self._session)
                    return draft
        return new_definition(self._mock, self.workspace, kind, request, self._session)

    def keep(self) -> None:
        """Store the drafts, and the workspace if it is new."""
        if not self.workspace.id:
            add_workspace(self._mock, self.workspace, self._mock.sessions.user(self._session))
        for draft in self.drafts:
            draft.workspace_id = self.workspace.id
            if draft.id:
                self._mock.store.save(draft)
            else:
                self._mock.store.add(draft)


@router.get("/export")
async def export_workspace(found: WorkspaceToView, mock: TheMock, enable: bool | None = None) -> Response:
    """Return a workspace as a file with its jobs and notebooks; `enable` selects enabled or disabled ones."""
    content: dict[str, Any] = {"workspace": {"name": found.name, "description": found.description}}
    for key, kind in KINDS.items():
        content[key] = [
            exported(definition)
            for definition in mock.store.all(kind)
            if definition.workspace_id == found.id and enable in {None, definition.is_enabled}
        ]
    return json_file(content, f"{found.name}.yeedu")


@router.post("/import", status_code=201)
async def import_workspace(
    file: Annotated[WorkspaceImport, Body()],
    mock: TheMock,
    session: TheSession,
    workspace_id: int | None = None,
    workspace_name: str | None = None,
    cluster_id: int | None = None,
    cluster_name: str | None = None,
    overwrite: bool = False,
    permissive: bool = False,
) -> dict[str, Any]:
    """Import jobs and notebooks into a workspace, which is created if none has its name.

    With `permissive`, what cannot be imported is left out; otherwise nothing is imported.
    """
    tenant = tenant_of(mock, session)
    workspace = _workspace(mock, session, workspace_id, workspace_name or file.workspace.name)
    if cluster_id is not None or cluster_name is not None:
        cluster_id = find_cluster(mock, tenant, cluster_id, cluster_name).id
    if not workspace.id:
        workspace.description = file.workspace.description
    target = Target(mock, session, workspace, cluster_id, overwrite=overwrite)
    errors: list[str] = []
    for kind, item in file.items():
        try:
            target.prepare(kind, item)
        except MockError as error:
            if not permissive:
                raise
            errors.append(error.message)
    target.keep()
    names = {
        key: [draft.name for draft in target.drafts if isinstance(draft, kind)] for key, kind in KINDS.items()
    }
    return {"workspace_id": workspace.id, "name": workspace.name, **names, "errors": errors}


def exported(definition: AnyDefinition) -> dict[str, Any]:
    """Return a job or notebook in the form of its export: with its program or cells."""
    content = {**definition_fields(definition, f"{definition.kind}_id"), "language": definition.language}
    if isinstance(definition, NotebookDefinition):
        return {**content, "notebook_cells": definition.content}
    return {**content, "job_command" if definition.is_command else "program": definition.program}


def _workspace(mock: Mock, session: Session, identifier: int | None, name: str | None) -> Workspace:
    """Return the workspace to import into; if none has the name, a new one without an id."""
    tenant = tenant_of(mock, session)
    for workspace in mock.store.all(Workspace):
        if workspace.tenant == tenant and (
            workspace.id == identifier if identifier is not None else workspace.name == name
        ):
            require(mock, session, workspace, WorkspacePermission.EDIT)
            return workspace
    if identifier is not None:
        raise NotFoundError(f"There is no workspace {identifier} in the selected tenant.")
    if name is None:
        raise BadRequestError("Neither the request nor the file names a workspace.")
    return Workspace(tenant=tenant, name=name)
