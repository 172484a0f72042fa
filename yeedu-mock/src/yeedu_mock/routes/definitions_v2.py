"""Jobs and notebooks in the v2 generation, where `job_id` and `notebook_id` name a definition."""

import copy
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from yeedu_mock.errors import ConflictError, NotFoundError
from yeedu_mock.routes.access import (
    AnyDefinition,
    TheMock,
    TheSession,
    TheWorkspace,
    definition_in_query,
    find_definition,
)
from yeedu_mock.routes.answers import PageLimit, PageNumber, json_file, one_page
from yeedu_mock.routes.definitions import DefinitionRequest, change, definition_v2
from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Run


def definition_routes(kind: type[JobDefinition] | type[NotebookDefinition]) -> APIRouter:
    """Return the routes of one kind of definition, relative to `.../spark/job` or `.../notebook`."""
    router = APIRouter(tags=[f"{kind.kind}s v2"])
    in_query = Depends(definition_in_query(kind, f"{kind.kind}_id", f"{kind.kind}_name"))

    @router.get("")
    async def read(definition: AnyDefinition = in_query) -> dict[str, Any]:
        """Return a definition by its id or name."""
        return definition_v2(definition)

    @router.put("")
    async def edit(
        request: DefinitionRequest,
        workspace: TheWorkspace,
        mock: TheMock,
        definition: AnyDefinition = in_query,
    ) -> dict[str, Any]:
        """Change the fields that are sent, the cluster for example."""
        change(mock, workspace, definition, request)
        mock.store.save(definition)
        return definition_v2(definition)

    @router.put("/enable")
    @router.put("/disable")
    async def enable(
        request: Request,
        mock: TheMock,
        definition: AnyDefinition = in_query,
    ) -> dict[str, Any]:
        """Enable or disable a definition."""
        definition.is_enabled = request.url.path.endswith("/enable")
        mock.store.save(definition)
        return definition_v2(definition)

    @router.get("/export")
    async def export(definition: AnyDefinition = in_query) -> Response:
        """Return a definition as a file."""
        return json_file(definition_v2(definition), f"{definition.name}.json")

    return router


job_definitions = definition_routes(JobDefinition)
notebook_definitions = definition_routes(NotebookDefinition)


@notebook_definitions.post("/clone", status_code=201)
async def clone_notebook(
    workspace: TheWorkspace,
    mock: TheMock,
    session: TheSession,
    new_notebook_name: str,
    notebook_id: int | None = None,
    notebook_name: str | None = None,
) -> dict[str, Any]:
    """Copy a notebook under a new name."""
    original = find_definition(mock, workspace, NotebookDefinition, notebook_id, notebook_name)
    if any(
        known.name == new_notebook_name and known.workspace_id == workspace.id
        for known in mock.store.all(NotebookDefinition)
    ):
        raise ConflictError(f"The workspace has a notebook called {new_notebook_name} already.")
    clone = copy.deepcopy(original)
    clone.id, clone.name, clone.created_by = 0, new_notebook_name, mock.sessions.user(session).username
    return definition_v2(mock.store.add(clone))


def list_definitions(
    mock: TheMock,
    workspace: TheWorkspace,
    kind: type[JobDefinition] | type[NotebookDefinition],
    request: Request,
    page_number: PageNumber,
    limit: PageLimit,
) -> dict[str, Any]:
    """Return a page of a workspace's definitions, filtered as the query says; an empty search is a 404."""
    query = request.query_params
    name = query.get(f"{kind.kind}_name")
    enable = query.get("enable")
    clusters = query.getlist("cluster_ids")
    ran = {run.definition_id for run in mock.store.all(Run)}
    found = [
        definition_v2(definition)
        for definition in mock.store.all(kind)
        if definition.workspace_id == workspace.id
        and (name is None or name.casefold() in definition.name.casefold())
        and (enable is None or (enable.casefold() == "true") == definition.is_enabled)
        and (not clusters or str(definition.cluster_id) in clusters)
        and (
            query.get("has_run") is None or (query["has_run"].casefold() == "true") == (definition.id in ran)
        )
    ]
    if not found and request.url.path.endswith("/search"):
        raise NotFoundError(f"No {kind.kind} was found.")
    return one_page(found, page_number, limit)
