"""Runs in the v2 generation, where `run_id` names an execution; jobs and notebooks differ only in names."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response

from yeedu_mock.errors import NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import Identifier, TheMock, TheWorkspace, find_definition
from yeedu_mock.routes.author_filters import TheAuthors
from yeedu_mock.routes.definitions import language_of, type_of
from yeedu_mock.routes.responses import (
    ByteCount,
    Ids,
    LineCount,
    PageLimit,
    PageNumber,
    Texts,
    log_file,
    one_page,
)
from yeedu_mock.routes.run_responses import (
    definition_of,
    find_run,
    list_runs,
    run_v2,
    states_of,
    workflow_errors,
)
from yeedu_mock.routes.submission import StartOptions, TheSubmission
from yeedu_mock.state.enums import JobType
from yeedu_mock.state.records import JobDefinition, NotebookDefinition, Run


class StartJob(StartOptions):
    """The body of a request that starts a job run."""

    job_id: int | None = None
    job_name: str | None = None


class StartNotebook(StartOptions):
    """The body of a request that starts a notebook run."""

    notebook_id: int | None = None
    notebook_name: str | None = None
    is_background: bool = True


def run_routes(kind: Literal["job", "notebook"]) -> APIRouter:
    """Return the routes of one kind of run, relative to `.../spark/job` or `.../notebook`."""
    router = APIRouter(tags=[f"{kind}s v2"])

    @router.get("/run/{run_id:identifier}")
    async def run(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
        """Return a run."""
        return run_v2(mock, find_run(mock, workspace, kind, run_id))

    @router.get("/run/{run_id:identifier}/status")
    async def status(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> list[dict[str, Any]]:
        """List the states that a run has been in, the oldest first."""
        return states_of(find_run(mock, workspace, kind, run_id))

    @router.get("/run/{run_id:identifier}/log/{stream}")
    async def log(
        run_id: Identifier,
        stream: str,
        workspace: TheWorkspace,
        mock: TheMock,
        last_n_lines: LineCount = None,
        file_size_bytes: ByteCount = None,
    ) -> Response:
        """Return a run's output so far; a notebook's is what its cells have printed."""
        run = find_run(mock, workspace, kind, run_id)
        return await log_file(mock, run, stream, last_n_lines, file_size_bytes)

    # Jobs are stopped and notebooks are killed; clients that mix the two up mean the same.
    @router.post("/run/stop/{run_id:identifier}", status_code=201)
    @router.post("/run/kill/{run_id:identifier}", status_code=201)
    async def stop(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
        """Stop a run."""
        found = find_run(mock, workspace, kind, run_id)
        await mock.runs.stop(found)
        return run_v2(mock, found)

    @router.get("/run/{run_id:identifier}/workflow/errors")
    async def errors(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
        """Return what went wrong outside the program's own output."""
        return workflow_errors(find_run(mock, workspace, kind, run_id))

    @router.get("/runs/search")
    @router.get("/runs")
    async def runs(
        request: Request,
        workspace: TheWorkspace,
        mock: TheMock,
        authors: TheAuthors,
        job_ids: Ids = None,
        notebook_ids: Ids = None,
        job_name: str | None = None,
        notebook_name: str | None = None,
        cluster_ids: Ids = None,
        run_status: Texts = None,
        job_type: Texts = None,
        job_type_langs: Texts = None,
        is_background: bool | None = None,
        page_number: PageNumber = 1,
        limit: PageLimit = 100,
    ) -> dict[str, Any]:
        """List runs; a search without results is a 404."""
        ids, name = (job_ids, job_name) if kind == "job" else (notebook_ids, notebook_name)

        def is_wanted(run: Run) -> bool:
            return (
                (not ids or run.definition_id in ids)
                and (name is None or name.casefold() in run.definition_name.casefold())
                and (not cluster_ids or run.cluster_id in cluster_ids)
                and (not run_status or run.status in {status.upper() for status in run_status})
                and is_background in {None, run.is_background}
                and _is_of(mock, run, job_type, job_type_langs)
                and authors.admit(run.created_by, run.created_by)
            )

        is_search = request.url.path.endswith("/search")
        found = list_runs(mock, workspace, kind, is_wanted, none_is_an_error=is_search)
        return one_page([run_v2(mock, run) for run in found], page_number, limit)

    return router


job_runs = run_routes("job")
notebook_runs = run_routes("notebook")


@job_runs.post("/run")
async def run_job(
    request: StartJob, workspace: TheWorkspace, mock: TheMock, submission: TheSubmission
) -> dict[str, Any]:
    """Start a run of a job."""
    definition = find_definition(mock, workspace, JobDefinition, request.job_id, request.job_name)
    return run_v2(mock, await submission.start(definition, request))


@notebook_runs.post("/run")
async def run_notebook(
    request: StartNotebook, workspace: TheWorkspace, mock: TheMock, submission: TheSubmission
) -> dict[str, Any]:
    """Start a run of a notebook: a kernel that waits for cells."""
    definition = find_definition(
        mock, workspace, NotebookDefinition, request.notebook_id, request.notebook_name
    )
    return run_v2(mock, await submission.start(definition, request, is_background=request.is_background))


@job_runs.get("/run/workflow_job_instance_details/{application_id}")
async def run_of_application(application_id: str, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return the job run that a Spark application belongs to."""
    for run in mock.store.all(Run):
        if (run.type, run.workspace_id, run.application_id) == ("job", workspace.id, application_id):
            return run_v2(mock, run)
    raise NotFoundError(
        f"There is no run of the application {application_id!r} in the workspace {workspace.id}."
    )


def _is_of(mock: Mock, run: Run, types: list[str] | None, languages: list[str] | None) -> bool:
    """Return whether a run's definition has one of the types and languages; none given means any."""
    definition = definition_of(mock, run)
    if definition is None:
        return not types and not languages
    wanted = {language_of(language) for language in languages or []}
    return (not types or type_of(definition) in {JobType.of(name) for name in types}) and (
        not wanted or definition.language.casefold() in wanted
    )
