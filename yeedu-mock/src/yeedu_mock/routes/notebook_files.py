"""Notebooks as files: a run's own copy, and what clients save back in each generation's form."""

import json
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from yeedu_mock.errors import BadRequestError, NotFoundError, TooLargeError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import (
    Identifier,
    TheMock,
    TheWorkspace,
    find_definition,
)
from yeedu_mock.routes.responses import json_file
from yeedu_mock.routes.run_responses import find_run
from yeedu_mock.state.records import NotebookDefinition, Run, Workspace

router = APIRouter(tags=["notebook files"])

MAX_NOTEBOOK_BYTES = 32 * 1024**2


@router.get("/workspace/{workspace_id}/notebook/{notebook_id:identifier}/run/{run_id:identifier}/download")
async def download_notebook(
    notebook_id: Identifier, run_id: Identifier, workspace: TheWorkspace, mock: TheMock
) -> Response:
    """Return a run's own copy of the notebook, as a file (v2)."""
    run = _run_of(mock, workspace, notebook_id, run_id)
    return json_file(run.notebook, f"{run.definition_name}.ipynb")


@router.post("/workspace/{workspace_id}/notebook/{notebook_id:identifier}/update")
async def update_notebook(
    notebook_id: Identifier,
    request: Request,
    workspace: TheWorkspace,
    mock: TheMock,
    run_id: int | None = None,
) -> JSONResponse:
    """Save a notebook with its outputs.

    With a `run_id` (v2, 200) it becomes the run's own copy; without one (v1 and v1b, 201) the definition's
    content.
    """
    content = await _read_notebook(request)
    answer = {"message": "The notebook is saved.", "notebook_id": notebook_id}
    if run_id is not None:
        run = _run_of(mock, workspace, notebook_id, run_id)
        run.notebook = content
        mock.store.save(run)
        return JSONResponse(answer | {"run_id": run.id})
    definition = find_definition(mock, workspace, NotebookDefinition, notebook_id)
    definition.content = {
        **definition.content,
        **content,
        "cells": [_saved(cell) for cell in content["cells"]],
    }
    mock.store.save(definition)
    return JSONResponse(answer, status_code=201)


def cells_v1(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a notebook's cells in the form of the v1 generation, without what is not a cell."""
    return [_cell_v1(cast("dict[str, Any]", cell)) for cell in content["cells"] if isinstance(cell, dict)]


def _cell_v1(cell: dict[str, Any]) -> dict[str, Any]:
    source = cell.get("source", "")
    code = "".join(str(line) for line in cast("list[Any]", source)) if isinstance(source, list) else source
    return {
        "cell_uuid": cell.get("cell_uuid") or cell.get("id"),
        "cell_type": cell.get("cell_type", "code"),
        "code": code,
        "output": cell.get("outputs", []),
    }


def _saved(cell: Any) -> Any:
    """Return a cell, adding to one of v1 the keys of the later generations."""
    fields = cast("dict[str, Any]", cell) if isinstance(cell, dict) else {}
    if "code" not in fields:
        return cast("Any", cell)
    return {"cell_type": "code", **fields, "source": fields["code"], "outputs": fields.get("output", [])}


async def _read_notebook(request: Request) -> dict[str, Any]:
    """Return the notebook in a request's body.

    Raises:
        TooLargeError: The body is larger than 32 MiB.
        BadRequestError: It is not JSON with `cells`.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_NOTEBOOK_BYTES:
            raise TooLargeError("The notebook is larger than 32 MiB.")
    try:
        content: Any = json.loads(body)
        # NaN and lone surrogates pass Python's parser, but can be neither stored nor returned as JSON.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequestError("The notebook is not JSON.") from error
    notebook = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    if not isinstance(notebook.get("cells"), list):
        raise BadRequestError("The notebook has no list of cells.")
    return notebook


def _run_of(mock: Mock, workspace: Workspace, notebook_id: int, run_id: int) -> Run:
    run = find_run(mock, workspace, "notebook", run_id)
    if run.definition_id != notebook_id:
        raise NotFoundError(f"The run {run_id} is not of the notebook {notebook_id}.")
    return run
