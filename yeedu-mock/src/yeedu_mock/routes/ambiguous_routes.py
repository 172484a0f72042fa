"""Routes whose path means one thing in v1 and another in v2; the request's fields decide which."""

from typing import Any

from fastapi import APIRouter, Request

from yeedu_mock.routes.access import TheMock, TheSession, TheWorkspace, find_definition
from yeedu_mock.routes.author_filters import TheAuthors
from yeedu_mock.routes.definitions import DefinitionRequest, create_definition, definition_v2
from yeedu_mock.routes.definitions_v2 import list_definitions
from yeedu_mock.routes.responses import PageLimit, PageNumber, one_page
from yeedu_mock.routes.run_responses import list_runs, run_v1
from yeedu_mock.routes.submission import StartOptions, TheSubmission
from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Run, type_of_run

router = APIRouter(prefix="/workspace/{workspace_id}", tags=["v1 and v2"])

V1_KEYS = {"job_conf_id", "job_conf_ids", "job_conf_name", "job_status", "isActive"}
V1_NOTEBOOK_KEYS = {"notebook_conf_id", "notebook_conf_ids", "notebook_status", "isActive"}


class JobRequest(DefinitionRequest, StartOptions):
    """Starts a run of a job (v1: `job_conf_id` or `job_conf_name`), or creates a job (v2)."""

    job_conf_id: int | None = None
    job_conf_name: str | None = None


class NotebookRequest(DefinitionRequest, StartOptions):
    """Starts a run of a notebook (v1: `notebook_conf_id`, or a name alone), or creates a notebook (v2)."""

    notebook_conf_id: int | None = None


@router.post("/spark/job")
async def start_or_create_job(
    request: JobRequest,
    workspace: TheWorkspace,
    mock: TheMock,
    session: TheSession,
    submission: TheSubmission,
) -> dict[str, Any]:
    """Start a run (v1) or create a job (v2)."""
    if request.job_conf_id is None and request.job_conf_name is None:
        return definition_v2(mock, create_definition(mock, workspace, JobDefinition, request, session))
    definition = find_definition(mock, workspace, JobDefinition, request.job_conf_id, request.job_conf_name)
    return run_v1(mock, await submission.start(definition, request))


@router.post("/notebook")
async def start_or_create_notebook(
    request: NotebookRequest,
    workspace: TheWorkspace,
    mock: TheMock,
    session: TheSession,
    submission: TheSubmission,
) -> dict[str, Any]:
    """Start a run (v1) or create a notebook (v2)."""
    is_start_by_name = request.model_fields_set <= {"notebook_name", "arguments", "conf"}
    if request.notebook_conf_id is None and not is_start_by_name:
        return definition_v2(mock, create_definition(mock, workspace, NotebookDefinition, request, session))
    definition = find_definition(
        mock, workspace, NotebookDefinition, request.notebook_conf_id, request.notebook_name
    )
    return run_v1(mock, await submission.start(definition, request))


@router.get("/spark/jobs/search")
@router.get("/spark/jobs")
async def jobs(
    request: Request,
    workspace: TheWorkspace,
    mock: TheMock,
    authors: TheAuthors,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List runs (v1) or jobs (v2)."""
    if V1_KEYS.isdisjoint(request.query_params):
        return list_definitions(mock, workspace, JobDefinition, request, authors, page_number, limit)
    return one_page(_runs_v1(mock, workspace, "job", request), page_number, limit)


@router.get("/notebooks/search")
@router.get("/notebooks")
async def notebooks(
    request: Request,
    workspace: TheWorkspace,
    mock: TheMock,
    authors: TheAuthors,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List runs (v1) or notebooks (v2)."""
    if V1_NOTEBOOK_KEYS.isdisjoint(request.query_params):
        return list_definitions(mock, workspace, NotebookDefinition, request, authors, page_number, limit)
    return one_page(_runs_v1(mock, workspace, "notebook", request), page_number, limit)


def _runs_v1(
    mock: TheMock, workspace: TheWorkspace, kind: type_of_run, request: Request
) -> list[dict[str, Any]]:
    """Return the runs that a v1 list asks for.

    Raises:
        NotFoundError: There is none; v1 clients keep waiting when they get that answer.
    """
    query = request.query_params
    conf_ids = {*query.getlist(f"{kind}_conf_id"), *query.getlist(f"{kind}_conf_ids")}
    states = {state.upper() for state in query.getlist(f"{kind}_status")}
    name = query.get(f"{kind}_conf_name")

    def is_wanted(run: Run) -> bool:
        return (
            (not conf_ids or str(run.definition_id) in conf_ids)
            and (not states or run.status in states)
            and (name is None or name in run.definition_name)
        )

    found = list_runs(mock, workspace, kind, is_wanted, none_is_an_error=True)
    return [run_v1(mock, run) for run in found]
