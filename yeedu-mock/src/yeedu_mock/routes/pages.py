"""The mock's own pages: an overview, and the pages that UI links to runs and definitions open."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from yeedu_mock.errors import NotFoundError
from yeedu_mock.execution.runs import LOG_STREAMS
from yeedu_mock.mock import Mock
from yeedu_mock.routes.access import Identifier, TheMock, base_url
from yeedu_mock.routes.login import health_check
from yeedu_mock.routes.rendering import UI_WORKSPACE, definition_path, page, run_path
from yeedu_mock.routes.responses import read_tail, size_of, whole_file
from yeedu_mock.state.records import (
    Definition,
    JobDefinition,
    NotebookDefinition,
    Run,
    Tenant,
    Workspace,
)
from yeedu_mock.state.seeds import SAMPLE_JOBS, SAMPLE_NOTEBOOKS

router = APIRouter(tags=["pages"], include_in_schema=False)
router.add_api_route("/healthCheck", health_check)

MAX_PAGE_LOG_LINES = 1000
MAX_PAGE_RUNS = 50
REFRESH_SECONDS = 5
SAMPLE_JOB_ID, SAMPLE_NOTEBOOK_ID = min(SAMPLE_JOBS), min(SAMPLE_NOTEBOOKS)

RunType = Annotated[Literal["spark_job", "notebook"] | None, Query(alias="type")]


@router.get("/")
async def overview(request: Request, mock: TheMock) -> Response:
    """Show what is in this mock, as a page or as JSON."""
    base = base_url(request, mock)
    definitions = [
        (definition, workspace)
        for definition in _definitions(mock)
        if (workspace := mock.store.get(Workspace, definition.workspace_id)) is not None
    ]
    runs = _latest(mock.store.all(Run))
    if _wants_json(request):
        return JSONResponse(_overview_json(base, definitions, runs, mock))
    return page("overview", "Overview", base=base, definitions=definitions, **_table_of(runs))


@router.get(UI_WORKSPACE)
async def workspace_page(tenant: str, workspace_id: Identifier, mock: TheMock) -> Response:
    """Show a workspace: what can be run in it, and its latest runs."""
    workspace = _workspace(mock, tenant, workspace_id)
    return page(
        "workspace",
        f"Workspace {workspace.name}",
        workspace=workspace,
        definitions=[one for one in _definitions(mock) if one.workspace_id == workspace_id],
        **_table_of(_latest(run for run in mock.store.all(Run) if run.workspace_id == workspace_id)),
    )


@router.get(UI_WORKSPACE + "/spark/job/{definition_id}")
@router.get(UI_WORKSPACE + "/job/{definition_id}")
@router.get(UI_WORKSPACE + "/spark/conf/{definition_id}")
@router.get(UI_WORKSPACE + "/spark/conf/{definition_id}/metrics")
async def job_page(
    tenant: str, workspace_id: Identifier, definition_id: Identifier, mock: TheMock
) -> Response:
    """Show a job and its runs."""
    return _definition_page(mock, tenant, workspace_id, mock.store.get(JobDefinition, definition_id))


@router.get(UI_WORKSPACE + "/spark/notebook/{definition_id}")
@router.get(UI_WORKSPACE + "/notebook/{definition_id}")
async def notebook_page(
    tenant: str, workspace_id: Identifier, definition_id: Identifier, mock: TheMock
) -> Response:
    """Show a notebook and its runs."""
    return _definition_page(mock, tenant, workspace_id, mock.store.get(NotebookDefinition, definition_id))


@router.get(UI_WORKSPACE + "/spark/{run_id}/run-metrics")
@router.get(UI_WORKSPACE + "/run/{run_id}/run-metrics")
async def run_page(
    tenant: str, workspace_id: Identifier, run_id: Identifier, mock: TheMock, kind: RunType = None
) -> Response:
    """Show a run's state, logs and notebook outputs; while it runs, the page follows it."""
    run = _run(mock, tenant, workspace_id, run_id, kind)
    return _run_page(mock, run, f"Run {run.id} of {run.definition_name}", LOG_STREAMS, is_whole=True)


@router.get(UI_WORKSPACE + "/spark/run/{run_id}/run-logs")
@router.get(UI_WORKSPACE + "/spark/{run_id}/run-logs")
@router.get(UI_WORKSPACE + "/run/{run_id}/run-logs")
async def run_logs_page(
    tenant: str,
    workspace_id: Identifier,
    run_id: Identifier,
    mock: TheMock,
    log_type: Annotated[str, Query()] = "stdout",
    kind: RunType = None,
) -> Response:
    """Show one log of a run."""
    run = _run(mock, tenant, workspace_id, run_id, kind)
    title = f"Run {run.id} of {run.definition_name}: {log_type}"
    return _run_page(mock, run, title, (log_type,), is_whole=False)


@router.get(UI_WORKSPACE + "/run/{run_id}/state")
async def run_state(
    tenant: str, workspace_id: Identifier, run_id: Identifier, mock: TheMock, kind: RunType = None
) -> dict[str, Any]:
    """Return when a run last changed and how long it took, for its page."""
    run = _run(mock, tenant, workspace_id, run_id, kind)
    return {"changed": run.modified_at.isoformat(), "duration": f"{run.duration_seconds:.1f} s"}


@router.get(UI_WORKSPACE + "/run/{run_id}/log/{stream}")
async def run_log(
    tenant: str,
    workspace_id: Identifier,
    run_id: Identifier,
    stream: str,
    mock: TheMock,
    kind: RunType = None,
) -> Response:
    """Return a run's log, or the part that its page does not have yet."""
    path = mock.runs.log_path(_run(mock, tenant, workspace_id, run_id, kind), stream)
    return whole_file(path) if path.exists() else PlainTextResponse("")


def _definition_page(mock: Mock, tenant: str, workspace_id: int, definition: Definition | None) -> Response:
    workspace = _workspace(mock, tenant, workspace_id)
    if definition is None or definition.workspace_id != workspace_id:
        raise NotFoundError("There is nothing at this address.")
    return page(
        "definition",
        definition.name,
        definition=definition,
        workspace=workspace,
        **_table_of(_latest(run for run in mock.store.all(Run) if run.definition_key == definition.key)),
    )


def _run_page(mock: Mock, run: Run, title: str, streams: Iterable[str], *, is_whole: bool) -> Response:
    base, _, query = run_path(run).partition("/run-metrics?")
    logs = [
        {
            "stream": stream,
            "path": f"{base}/log/{stream}?{query}",
            "end": (end := size_of(path := mock.runs.log_path(run, stream))),
            "text": read_tail(path, MAX_PAGE_LOG_LINES, None, end).decode("utf-8", "replace"),
        }
        for stream in streams
    ]
    state_path = f"{base}/state?{query}"
    return page("run", title, run=run, logs=logs, state_path=state_path, is_whole=is_whole)


def _table_of(runs: list[Run]) -> dict[str, Any]:
    """Return the values of a page with a table of runs, which reloads while one of them has not ended."""
    lives = any(not run.status.is_terminal for run in runs)
    return {"runs": runs, "refresh_seconds": REFRESH_SECONDS if lives else None}


def _latest(runs: Iterable[Run]) -> list[Run]:
    return [*runs][: -MAX_PAGE_RUNS - 1 : -1]


def _definitions(mock: Mock) -> list[JobDefinition | NotebookDefinition]:
    return [*mock.store.all(JobDefinition), *mock.store.all(NotebookDefinition)]


def _workspace(mock: Mock, tenant: str, workspace_id: int) -> Workspace:
    workspace = mock.store.get(Workspace, workspace_id)
    if workspace is None or workspace.tenant != tenant:
        raise NotFoundError("There is nothing at this address.")
    return workspace


def _run(mock: Mock, tenant: str, workspace_id: int, run_id: int, kind: str | None) -> Run:
    wanted = {None: {"job", "notebook"}, "spark_job": {"job"}, "notebook": {"notebook"}}[kind]
    for run in mock.store.all(Run):
        if (run.id, run.tenant, run.workspace_id) == (run_id, tenant, workspace_id) and run.type in wanted:
            return run
    raise NotFoundError(f"There is no run {run_id} at this address.")


def _overview_json(
    base: str, definitions: list[tuple[Any, Workspace]], runs: list[Run], mock: Mock
) -> dict[str, Any]:
    urls = {one.key: base + definition_path(one, space.tenant) for one, space in definitions}
    job, notebook = urls.get(SAMPLE_JOB_ID, ""), urls.get(SAMPLE_NOTEBOOK_ID, "")
    return {
        "api": f"{base}/api/v1/",
        "docs": f"{base}/docs",
        "auth_type": mock.settings.auth_type,
        "examples": {
            "v1": {"job": job.replace("/spark/job/", "/spark/conf/"), "notebook": notebook},
            "v2": {"job": job, "notebook": notebook},
            "health": f"{base}/healthCheck",
        },
        "tenants": [{"tenant_id": tenant.uuid, "name": tenant.name} for tenant in mock.store.all(Tenant)],
        "workspaces": [
            {"workspace_id": space.id, "name": space.name, "tenant_id": space.tenant}
            for space in mock.store.all(Workspace)
        ],
        "jobs": [
            {"job_id": definition.id, "name": definition.name, "url": urls[definition.key]}
            for definition, _ in definitions
            if isinstance(definition, JobDefinition)
        ],
        "notebooks": [
            {"notebook_id": definition.id, "name": definition.name, "url": urls[definition.key]}
            for definition, _ in definitions
            if isinstance(definition, NotebookDefinition)
        ],
        "runs": [
            {
                "run_id": run.id,
                "run_status": run.status,
                "of": run.definition_name,
                "url": base + run_path(run),
            }
            for run in runs
        ],
    }


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted
