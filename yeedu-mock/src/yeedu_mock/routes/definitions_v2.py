"""Jobs and notebooks in the v2 generation, where `job_id` and `notebook_id` name a definition."""

import copy
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from yeedu_mock.errors import NotFoundError
from yeedu_mock.routes.access import (
    AnyDefinition,
    TheMock,
    TheSession,
    TheWorkspace,
    definition_in_query,
    find_definition,
)
from yeedu_mock.routes.administration.export_import import exported
from yeedu_mock.routes.author_filters import Authors
from yeedu_mock.routes.definitions import (
    DefinitionRequest,
    change,
    definition_v2,
    language_of,
    refuse_taken,
    type_of,
)
from yeedu_mock.routes.responses import PageLimit, PageNumber, json_file, one_page, split_at_commas
from yeedu_mock.state.enums import JobType
from yeedu_mock.state.paths import absolute
from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Run, now


def definition_routes(kind: type[JobDefinition] | type[NotebookDefinition]) -> APIRouter:
    """Return the routes of one kind of definition, relative to `.../spark/job` or `.../notebook`."""
    router = APIRouter(tags=[f"{kind.kind}s v2"])
    in_query = Depends(definition_in_query(kind, f"{kind.kind}_id", f"{kind.kind}_name"))

    @router.get("")
    async def read(mock: TheMock, definition: AnyDefinition = in_query) -> dict[str, Any]:
        """Return a definition by its id or name."""
        return definition_v2(mock, definition)

    @router.put("")
    async def edit(
        request: DefinitionRequest,
        response: Response,
        workspace: TheWorkspace,
        mock: TheMock,
        session: TheSession,
        definition: AnyDefinition = in_query,
    ) -> dict[str, Any]:
        """Change the fields that are sent, for example the cluster."""
        change(mock, workspace, definition, request, session)
        mock.store.save(definition)
        response.status_code = mock.control.switches.edit_status
        return definition_v2(mock, definition)

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
        return definition_v2(mock, definition)

    @router.get("/export")
    async def export(definition: AnyDefinition = in_query) -> Response:
        """Return a definition as a file that a workspace can import."""
        return json_file(exported(definition), f"{definition.name}.yeedu")

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
    clone_file_path: str | None = None,
) -> dict[str, Any]:
    """Copy a notebook under a new name, and its file to a path."""
    original = find_definition(mock, workspace, NotebookDefinition, notebook_id, notebook_name)
    refuse_taken(mock, workspace, NotebookDefinition, new_notebook_name)
    clone = copy.deepcopy(original)
    clone.id, clone.name = 0, new_notebook_name
    clone.created_by = clone.modified_by = mock.sessions.user(session).username
    clone.created_at = clone.modified_at = now()
    if clone_file_path is not None:
        clone.settings["notebook_path"] = absolute(clone_file_path)
    return definition_v2(mock, mock.store.add(clone))


def list_definitions(
    mock: TheMock,
    workspace: TheWorkspace,
    kind: type[JobDefinition] | type[NotebookDefinition],
    request: Request,
    authors: Authors,
    page_number: PageNumber,
    limit: PageLimit,
) -> dict[str, Any]:
    """Return a page of a workspace's definitions, filtered by the query; an empty search is a 404."""
    query = request.query_params
    name = query.get(f"{kind.kind}_name")
    clusters = split_at_commas(query.getlist("cluster_ids"))
    last_states = {state.upper() for state in split_at_commas(query.getlist("last_run_status"))}
    languages = {language_of(language) for language in split_at_commas(query.getlist("job_type_langs"))}
    types = {JobType.of(name) for name in split_at_commas(query.getlist("job_type"))}
    enable, has_run = _truth(query.get("enable")), _truth(query.get("has_run"))
    last_runs = {run.definition_key: run for run in mock.store.all(Run)}
    found = [
        definition_v2(mock, definition)
        for definition in mock.store.all(kind)
        if definition.workspace_id == workspace.id
        and (name is None or name.casefold() in definition.name.casefold())
        and enable in {None, definition.is_enabled}
        and (not clusters or str(definition.cluster_id) in clusters)
        and has_run in {None, definition.key in last_runs}
        and (not last_states or _status(last_runs.get(definition.key)) in last_states)
        and (not languages or definition.language.casefold() in languages)
        and (not types or type_of(definition) in types)
        and authors.admit(definition.created_by, definition.modified_by)
    ]
    is_search = request.url.path.endswith("/search")
    if not found and (is_search or mock.control.switches.empty_list_status == NotFoundError.status):
        raise NotFoundError(f"No {kind.kind} was found.")
    return one_page(found, page_number, limit)


def _status(run: Run | None) -> str | None:
    return run and run.status


def _truth(text: str | None) -> bool | None:
    return None if text is None else text.casefold() == "true"
