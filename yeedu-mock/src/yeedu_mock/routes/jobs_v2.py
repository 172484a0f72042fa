"""Jobs in the v2 generation: `job_id` is a definition, `run_id` an execution."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

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
    log_file,
    one_page,
    run_v2,
    workflow_errors,
)
from yeedu_mock.state.records import JobDefinition, Run

router = APIRouter(prefix="/workspace/{workspace_id}/spark/job", tags=["jobs v2"])


class RunJobRequest(BaseModel):
    """What starts a job run."""

    job_id: int | None = None
    job_name: str | None = None
    arguments: str | None = Field(default=None, max_length=100_000)
    conf: list[str] | None = None


@router.post("/run")
async def run_job(
    request: RunJobRequest, workspace: TheWorkspace, mock: TheMock, session: TheSession
) -> dict[str, Any]:
    """Start a run of a job."""
    definition = find_definition(mock, workspace, JobDefinition, request.job_id, request.job_name)
    run = Run(
        type="job",
        definition_id=definition.id,
        definition_name=definition.name,
        workspace_id=workspace.id,
        tenant=workspace.tenant,
        cluster_id=definition.cluster_id,
        arguments=definition.arguments if request.arguments is None else request.arguments,
        conf=definition.conf + (request.conf or []),
        created_by=mock.sessions.user(session).username,
    )
    return run_v2(mock.runs.submit(run, definition))


@router.get("/runs/search")
@router.get("/runs")
async def list_job_runs(
    workspace: TheWorkspace,
    mock: TheMock,
    job_ids: Annotated[list[int] | None, Query()] = None,
    job_name: str | None = None,
    run_status: Annotated[list[str] | None, Query()] = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List runs, the newest first."""
    runs = [
        run_v2(run)
        for run in reversed(list(mock.store.all(Run)))
        if run.type == "job"
        and run.workspace_id == workspace.id
        and (not job_ids or run.definition_id in job_ids)
        and (job_name is None or job_name in run.definition_name)
        and (not run_status or run.status in run_status)
    ]
    return one_page(runs, page_number, limit)


@router.get("/run/{run_id}")
async def job_run(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return a run."""
    return run_v2(find_run(mock, workspace, "job", run_id))


@router.get("/run/{run_id}/status")
async def job_run_status(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return a run's status alone."""
    run = find_run(mock, workspace, "job", run_id)
    return {"run_id": run.id, "run_status": run.status}


@router.get("/run/{run_id}/log/{stream}")
async def job_run_log(
    run_id: Identifier,
    stream: str,
    workspace: TheWorkspace,
    mock: TheMock,
    last_n_lines: LineCount = None,
    file_size_bytes: ByteCount = None,
) -> Response:
    """Return a run's output so far."""
    path = mock.runs.log_path(find_run(mock, workspace, "job", run_id), stream)
    return log_file(path, last_n_lines, file_size_bytes)


@router.post("/run/kill/{run_id}", status_code=201)
@router.post("/run/stop/{run_id}", status_code=201)
async def stop_job_run(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Stop a run."""
    run = find_run(mock, workspace, "job", run_id)
    await mock.runs.stop(run)
    return run_v2(run)


@router.get("/run/{run_id}/workflow/errors")
async def job_run_errors(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
    """Return what went wrong."""
    return workflow_errors(find_run(mock, workspace, "job", run_id))


def job_v2(definition: JobDefinition) -> dict[str, Any]:
    """Return a job in the form of the v2 generation."""
    return {
        **definition.settings,
        "job_id": definition.id,
        "name": definition.name,
        "job_type": definition.job_type,
        "spark_job_type": {"job_type": definition.job_type, "language": definition.language},
        "workspace_id": definition.workspace_id,
        "cluster_id": definition.cluster_id,
        "arguments": definition.arguments,
        "conf": definition.conf,
        "enable": definition.is_enabled,
        "created_at": definition.created_at.isoformat(),
    }


@router.get("")
async def job(
    workspace: TheWorkspace, mock: TheMock, job_id: int | None = None, job_name: str | None = None
) -> dict[str, Any]:
    """Return a job by its id or name."""
    return job_v2(find_definition(mock, workspace, JobDefinition, job_id, job_name))
