"""Notebooks in the v2 generation: `notebook_id` is a definition, `run_id` an execution."""

import copy
import json
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from yeedu_mock.errors import BadRequestError, NotFoundError, TooLargeError
from yeedu_mock.routes.access import (
    Identifier,
    TheMock,
    TheSession,
    TheWorkspace,
    find_definition,
    find_run,
)
from yeedu_mock.routes.answers import (
    ByteCount,
    LineCount,
    PageLimit,
    PageNumber,
    json_file,
    log_file,
    one_page,
    run_v2,
    workflow_errors,
)
from yeedu_mock.state.records import NotebookDefinition, Run

router = APIRouter(prefix="/workspace/{workspace_id}/notebook", tags=["notebooks v2"])

MAX_NOTEBOOK_BYTES = 32 * 1024**2


class RunNotebookRequest(BaseModel):
    """What starts a notebook run."""

    notebook_id: int | None = None
    notebook_name: str | None = None
    is_background: bool = True
    arguments: str | None = Field(default=None, max_length=100_000)
    conf: list[str] | None = None


@router.post("/run")
async def run_notebook(
    request: RunNotebookRequest, workspace: TheWorkspace, mock: TheMock, session: TheSession
) -> dict[str, Any]:
    """Start a run of a notebook: a kernel that waits for cells."""
    definition = find_definition(
        mock, workspace, NotebookDefinition, request.notebook_id, request.notebook_name
    )
    run = Run(
        type="notebook",
        definition_id=definition.id,
        definition_name=definition.name,
        workspace_id=workspace.id,
        tenant=workspace.tenant,
        cluster_id=definition.cluster_id,
        arguments=definition.arguments if request.arguments is None else request.arguments,
        conf=definition.conf + (request.conf or []),
        created_by=mock.sessions.user(session).username,
        notebook=copy.deepcopy(definition.content),
    )
    return run_v2(mock.runs.submit(run, definition))


@router.get("/runs/search")
@router.get("/runs")
async def list_notebook_runs(
    workspace: TheWorkspace,
    mock: TheMock,
    notebook_ids: Annotated[list[int] | None, Query()] = None,
    notebook_name: str | None = None,
    run_status: Annotated[list[str] | None, Query()] = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List runs, the newest first."""
    runs = [
        run_v2(run)
        for run in reversed(list(mock.store.all(Run)))
        if run.type == "notebook"
        and run.workspace_id == workspace.id
        and (not notebook_ids or run.definition_id in notebook_ids)
        and (notebook_name is None or notebook_name in run.definition_name)
        and (not run_status or run.status in run_status)
    ]
    return one_page(runs, page_number, limit)


@router.get("/run/{run_id}")
async def notebook_run(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return a run."""
    return run_v2(find_run(mock, workspace, "notebook", run_id))


@router.get("/run/{run_id}/status")
async def notebook_run_status(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return a run's status alone."""
    run = find_run(mock, workspace, "notebook", run_id)
    return {"run_id": run.id, "run_status": run.status}


@router.get("/run/{run_id}/log/{stream}")
async def notebook_run_log(
    run_id: Identifier,
    stream: str,
    workspace: TheWorkspace,
    mock: TheMock,
    last_n_lines: LineCount = None,
    file_size_bytes: ByteCount = None,
) -> Response:
    """Return what the kernel and its cells have printed so far."""
    path = mock.runs.log_path(find_run(mock, workspace, "notebook", run_id), stream)
    return log_file(path, last_n_lines, file_size_bytes)


@router.post("/run/stop/{run_id}", status_code=201)
@router.post("/run/kill/{run_id}", status_code=201)
async def kill_notebook_run(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """End a run and its kernel."""
    run = find_run(mock, workspace, "notebook", run_id)
    await mock.runs.stop(run)
    return run_v2(run)


@router.get("/run/{run_id}/workflow/errors")
async def notebook_run_errors(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return what went wrong."""
    return workflow_errors(find_run(mock, workspace, "notebook", run_id))


def notebook_v2(definition: NotebookDefinition) -> dict[str, Any]:
    """Return a notebook in the form of the v2 generation."""
    return {
        **definition.settings,
        "notebook_id": definition.id,
        "notebook_name": definition.name,
        "spark_job_type": {"job_type": "NOTEBOOK", "language": definition.language},
        "workspace_id": definition.workspace_id,
        "cluster_id": definition.cluster_id,
        "arguments": definition.arguments,
        "conf": definition.conf,
        "enable": definition.is_enabled,
        "created_at": definition.created_at.isoformat(),
    }


@router.get("")
async def notebook(
    workspace: TheWorkspace, mock: TheMock, notebook_id: int | None = None, notebook_name: str | None = None
) -> dict[str, Any]:
    """Return a notebook by its id or name."""
    return notebook_v2(find_definition(mock, workspace, NotebookDefinition, notebook_id, notebook_name))


@router.get("/{notebook_id}/run/{run_id}/download")
async def download_notebook(
    notebook_id: Identifier, run_id: Identifier, workspace: TheWorkspace, mock: TheMock
) -> Response:
    """Return a run's own copy of the notebook, as a file."""
    run = _run_of(mock, workspace, notebook_id, run_id)
    return json_file(run.notebook, f"{run.definition_name}.ipynb")


@router.post("/{notebook_id}/update")
async def update_notebook(
    notebook_id: Identifier, request: Request, workspace: TheWorkspace, mock: TheMock, run_id: int
) -> dict[str, Any]:
    """Replace a run's own copy of the notebook, outputs included; the definition stays as it is."""
    run = _run_of(mock, workspace, notebook_id, run_id)
    run.notebook = await read_notebook(request)
    mock.store.save(run)
    return {"message": "The notebook is saved.", "notebook_id": notebook_id, "run_id": run.id}


async def read_notebook(request: Request) -> dict[str, Any]:
    """Return the notebook in a request's body.

    Raises:
        TooLargeError: The body is over 32 MiB.
        BadRequestError: It is not JSON with `cells`.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_NOTEBOOK_BYTES:
            raise TooLargeError("The notebook is larger than 32 MiB.")
    try:
        content: Any = json.loads(body)
    except ValueError as error:
        raise BadRequestError("The notebook is not JSON.") from error
    notebook = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    if not isinstance(notebook.get("cells"), list):
        raise BadRequestError("The notebook has no list of cells.")
    return notebook


def _run_of(mock: TheMock, workspace: TheWorkspace, notebook_id: int, run_id: int) -> Run:
    run = find_run(mock, workspace, "notebook", run_id)
    if run.definition_id != notebook_id:
        raise NotFoundError(f"The run {run_id} is not of the notebook {notebook_id}.")
    return run
