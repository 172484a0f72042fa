"""Shows jobs and notebooks in the form of each generation, and creates and changes them by requests."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yeedu_mock.errors import BadRequestError, ConflictError, UnknownIdError
from yeedu_mock.execution.programs import FunctionSettings
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import require
from yeedu_mock.state.enums import LANGUAGE_NAMES, JobType, WorkspacePermission
from yeedu_mock.state.records import (
    Cluster,
    Definition,
    JobDefinition,
    NotebookDefinition,
    Run,
    Session,
    User,
    Workspace,
)

Generation = Literal["v1", "v2"]

SPARK_VERSION = "3.5.3"  # only shown; nothing runs on Spark here


class DefinitionRequest(BaseModel):
    """The fields of a definition that the mock acts on; all others are stored and returned."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, min_length=1, max_length=255)
    notebook_name: str | None = Field(default=None, min_length=1, max_length=255)
    cluster_id: int | None = None
    cluster_name: str | None = None
    job_type: str | None = None
    notebook_type: str | None = None
    language: str | None = None
    arguments: str | None = None
    job_arguments: str | None = Field(default=None, description="What yeedu-cli calls a job's arguments.")
    conf: list[str] | None = None
    program: str | None = Field(default=None, description="The mock's own: Python (or shell) source text.")
    job_command: str | None = Field(default=None, description="Run by the shell, in the run's folder.")
    notebook_cells: dict[str, Any] | None = None


def definition_v2(mock: Mock, definition: Definition) -> dict[str, Any]:
    """Return a job or a notebook in the form of the v2 generation."""
    runs = [run for run in mock.store.all(Run) if run.definition_key == definition.key]
    last = runs[-1] if runs else None
    return {
        **definition_fields(definition, f"{definition.kind}_id"),
        f"{definition.kind}_name": definition.name,
        "cluster_info": cluster_info(mock, definition.cluster_id),
        "last_job_run": last and {"run_id": last.id, "run_status": last.status},
        "created_by": by_whom(mock, definition.created_by),
        "modified_by": by_whom(mock, definition.modified_by or definition.created_by),
        "last_update_date": definition.modified_at.isoformat(),
    }


def definition_v1(definition: Definition) -> dict[str, Any]:
    """Return a job or a notebook in the form of the v1 generation; notebooks name their file as in v1b."""
    shown = definition_fields(definition, f"{definition.kind}_conf_id")
    if isinstance(definition, NotebookDefinition):
        shown["notebook_file_id"] = definition.id
    return shown


def create_definition(
    mock: Mock,
    workspace: Workspace,
    kind: type[JobDefinition] | type[NotebookDefinition],
    request: DefinitionRequest,
    session: Session,
) -> JobDefinition | NotebookDefinition:
    """Add a job or notebook of the session's user.

    Raises:
        BadRequestError: It has no name.
        ConflictError: The workspace has one of that name already.
        NoAccessError: The user may not edit in the workspace.
    """
    require(mock, session, workspace, WorkspacePermission.EDIT)
    return mock.store.add(new_definition(mock, workspace, kind, request, session))


def new_definition(
    mock: Mock,
    workspace: Workspace,
    kind: type[JobDefinition] | type[NotebookDefinition],
    request: DefinitionRequest,
    session: Session,
) -> JobDefinition | NotebookDefinition:
    """Return a new job or notebook of the session's user, not stored yet.

    Raises:
        BadRequestError: It has no name.
        ConflictError: The workspace has one of that name already.
    """
    name = request.notebook_name or request.name
    if name is None:
        raise BadRequestError(f"A {kind.kind} needs a name.")
    refuse_taken(mock, workspace, kind, name)
    if kind is JobDefinition:
        definition = JobDefinition(workspace_id=workspace.id, name=name, program="")
    else:
        content: dict[str, Any] = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
        definition = NotebookDefinition(workspace_id=workspace.id, name=name, content=content)
    definition.created_by = mock.sessions.user(session).username
    change(mock, workspace, definition, request, session)
    return definition


def refuse_taken(
    mock: Mock, workspace: Workspace, kind: type[JobDefinition] | type[NotebookDefinition], name: str
) -> None:
    """Check that a workspace has no job, or notebook, of this name.

    Raises:
        ConflictError: It has one.
    """
    if any(known.name == name and known.workspace_id == workspace.id for known in mock.store.all(kind)):
        raise ConflictError(f"The workspace has a {kind.kind} called {name} already.")


def change(
    mock: Mock,
    workspace: Workspace,
    definition: JobDefinition | NotebookDefinition,
    request: DefinitionRequest,
    session: Session,
) -> None:
    """Apply the fields that a request sends; an explicit null removes a job's arguments."""
    name = request.notebook_name or request.name or definition.name
    if name != definition.name:
        refuse_taken(mock, workspace, type(definition), name)
    definition.name = name
    definition.modified_by = mock.sessions.user(session).username
    if request.cluster_id is not None or request.cluster_name is not None:
        definition.cluster_id = find_cluster(
            mock, workspace.tenant, request.cluster_id, request.cluster_name
        ).id
    if "job_arguments" in request.model_fields_set:
        definition.arguments = definition.settings["job_arguments"] = request.job_arguments
    if request.arguments is not None:
        definition.arguments = request.arguments
    if request.conf is not None:
        definition.conf = request.conf
    language = request.language or request.notebook_type or definition.language
    definition.language = LANGUAGE_NAMES.get(language.casefold(), language)
    definition.settings |= request.model_extra or {}
    if isinstance(definition, NotebookDefinition):
        if request.notebook_cells is not None and isinstance(request.notebook_cells.get("cells"), list):
            definition.content = {**definition.content, "cells": request.notebook_cells["cells"]}
        return
    definition.job_type = JobType.of(request.job_type or definition.job_type)
    if request.program is not None:
        definition.program, definition.is_command = request.program, False
    elif request.job_command is not None:
        definition.program, definition.is_command = request.job_command, True
        definition.settings["job_command"] = request.job_command
    if definition.job_type == JobType.YEEDU_FUNCTIONS:
        try:
            FunctionSettings.model_validate(definition.settings)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadRequestError(f"A function is wrong at {first['loc'][0]}: {first['msg']}.") from error


def find_cluster(mock: Mock, tenant: str | None, identifier: int | None, name: str | None) -> Cluster:
    """Return a cluster of a tenant by its id or, without one, by its name.

    Raises:
        UnknownIdError: The tenant has no such cluster.
    """
    for cluster in mock.store.all(Cluster):
        if cluster.tenant == tenant and (
            cluster.id == identifier if identifier is not None else cluster.name == name
        ):
            return cluster
    raise UnknownIdError(f"There is no cluster {identifier if identifier is not None else repr(name)}.")


def type_of(definition: Definition) -> str:
    """Return the `job_type` of a definition."""
    return definition.job_type if isinstance(definition, JobDefinition) else "NOTEBOOK"


def cluster_info(mock: Mock, cluster_id: int | None) -> dict[str, Any]:
    """Return what is shown of the cluster that something is bound to; empty for none."""
    cluster = None if cluster_id is None else mock.store.get(Cluster, cluster_id)
    if cluster is None:
        return {}
    return {
        "cluster_id": cluster.id,
        "name": cluster.name,
        "cluster_status": cluster.status,
        "cluster_type": cluster.settings.get("cluster_type", "YEEDU"),
        "spark_infra_version": {"spark_version": SPARK_VERSION},
    }


def by_whom(mock: Mock, username: str) -> dict[str, Any]:
    """Return the user who created or changed something, in the form of v2."""
    user = next((user for user in mock.store.all(User) if user.username == username), None)
    return {"user_id": user.id if user else None, "username": username}


def language_of(name: str) -> str:
    """Return a language in lower case, given the name that the API or the user interface has for it."""
    return LANGUAGE_NAMES.get(name.casefold(), name).casefold()


def definition_fields(definition: Definition, id_key: str) -> dict[str, Any]:
    """Return what every generation shows of a job or a notebook, with its id under `id_key`."""
    job_type = type_of(definition)
    name_key = "name" if isinstance(definition, JobDefinition) else "notebook_name"
    return {
        **definition.settings,
        id_key: definition.id,
        name_key: definition.name,
        "job_type": job_type,
        "spark_job_type": {"job_type": job_type, "language": definition.language},
        "workspace_id": definition.workspace_id,
        "cluster_id": definition.cluster_id,
        "arguments": definition.arguments,
        "conf": definition.conf,
        "enable": definition.is_enabled,
        "created_by": definition.created_by,
        "modified_by": definition.modified_by or definition.created_by,
        "created_at": definition.created_at.isoformat(),
        "modified_at": definition.modified_at.isoformat(),
    }
