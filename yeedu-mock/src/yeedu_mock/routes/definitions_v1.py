"""Jobs and notebooks in the v1 and v1b generations, where a definition is called a conf."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from yeedu_mock.routes.access import AnyDefinition, TheMock, TheSession, TheWorkspace, definition_in_query
from yeedu_mock.routes.definitions import DefinitionRequest, change, create_definition, definition_v1
from yeedu_mock.routes.notebook_files import cells_v1
from yeedu_mock.routes.responses import PageLimit, PageNumber, found_page, json_file
from yeedu_mock.state.records import JobDefinition, NotebookDefinition


def conf_routes(kind: type[JobDefinition] | type[NotebookDefinition]) -> APIRouter:
    """Return the routes of one kind of conf, relative to `.../spark/job` or `.../notebook`."""
    router = APIRouter(tags=[f"{kind.kind}s v1"])
    name_key = "job_conf_name" if kind is JobDefinition else "notebook_name"
    in_query = Depends(definition_in_query(kind, f"{kind.kind}_conf_id", name_key))

    @router.get("/conf")
    async def read(definition: AnyDefinition = in_query) -> dict[str, Any]:
        """Return a conf by its id or name; a notebook's includes its cells."""
        return _whole(definition)

    @router.post("/conf")
    async def create(
        request: DefinitionRequest, workspace: TheWorkspace, mock: TheMock, session: TheSession
    ) -> dict[str, Any]:
        """Create a conf."""
        return definition_v1(create_definition(mock, workspace, kind, request, session))

    @router.put("/conf")
    async def edit(
        request: DefinitionRequest,
        response: Response,
        workspace: TheWorkspace,
        mock: TheMock,
        session: TheSession,
        definition: AnyDefinition = in_query,
    ) -> dict[str, Any]:
        """Change the fields that are sent."""
        change(mock, workspace, definition, request, session)
        mock.store.save(definition)
        response.status_code = mock.control.switches.edit_status
        return definition_v1(definition)

    @router.put("/conf/enable")
    @router.put("/conf/disable")
    async def enable(
        request: Request,
        mock: TheMock,
        definition: AnyDefinition = in_query,
    ) -> dict[str, Any]:
        """Enable or disable a conf."""
        definition.is_enabled = request.url.path.endswith("/enable")
        mock.store.save(definition)
        return definition_v1(definition)

    @router.get("/conf/export")
    async def export(definition: AnyDefinition = in_query) -> Response:
        """Return a conf as a file."""
        return json_file(_whole(definition), f"{definition.name}.json")

    @router.get("/confs/search")
    @router.get("/confs")
    async def confs(
        request: Request,
        workspace: TheWorkspace,
        mock: TheMock,
        page_number: PageNumber = 1,
        limit: PageLimit = 100,
    ) -> dict[str, Any]:
        """List confs; 404 if there are none."""
        name = request.query_params.get(name_key)
        found = [
            definition_v1(definition)
            for definition in mock.store.all(kind)
            if definition.workspace_id == workspace.id and (name is None or name in definition.name)
        ]
        return found_page(found, page_number, limit, f"{kind.kind} conf")

    return router


def _whole(definition: AnyDefinition) -> dict[str, Any]:
    shown = definition_v1(definition)
    if isinstance(definition, NotebookDefinition):
        shown["notebook_cells"] = {"cells": cells_v1(definition.content)}
    return shown


job_confs = conf_routes(JobDefinition)
notebook_confs = conf_routes(NotebookDefinition)
