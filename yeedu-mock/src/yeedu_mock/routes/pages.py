"""The mock's own pages: what it holds, and the pages that UI links of runs and definitions open."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from yeedu_mock.errors import NotFoundError
from yeedu_mock.mock import Mock
from yeedu_mock.routes import markup
from yeedu_mock.routes.access import Identifier, TheMock, base_url
from yeedu_mock.routes.answers import read_tail
from yeedu_mock.routes.login import health_check
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
REFRESH_SECONDS = 2
SAMPLE_JOB_ID, SAMPLE_NOTEBOOK_ID = min(SAMPLE_JOBS), min(SAMPLE_NOTEBOOKS)
UI_WORKSPACE = "/tenant/{tenant}/workspace/{workspace_id}"


def definition_path(definition: Definition, tenant: str) -> str:
    """Return the UI path of a job or notebook, which is also what users paste into their flows."""
    kind = "job" if isinstance(definition, JobDefinition) else "notebook"
    return f"/tenant/{tenant}/workspace/{definition.workspace_id}/spark/{kind}/{definition.id}"


def workspace_path(workspace: Workspace) -> str:
    """Return the UI path of a workspace."""
    return UI_WORKSPACE.format(tenant=workspace.tenant, workspace_id=workspace.id)


def run_path(run: Run) -> str:
    """Return the UI path of a run."""
    kind = "spark_job" if run.type == "job" else "notebook"
    return f"/tenant/{run.tenant}/workspace/{run.workspace_id}/run/{run.id}/run-metrics?type={kind}"


@router.get("/")
async def overview(request: Request, mock: TheMock) -> Response:
    """Show what this mock holds, as a page or as JSON."""
    base = base_url(request, mock)
    definitions = [
        (definition, workspace)
        for kind in (JobDefinition, NotebookDefinition)
        for definition in mock.store.all(kind)
        if (workspace := mock.store.get(Workspace, definition.workspace_id)) is not None
    ]
    runs = list(mock.store.all(Run))[: -MAX_PAGE_RUNS - 1 : -1]
    if _wants_json(request):
        return JSONResponse(_overview_json(base, definitions, runs, mock))
    definition_rows = (
        (
            markup.link(definition.name, definition_path(definition, workspace.tenant)),
            markup.text(definition.kind),
            markup.link(workspace.name, workspace_path(workspace)),
            markup.text(base + definition_path(definition, workspace.tenant)),
        )
        for definition, workspace in definitions
    )
    return markup.page(
        "Overview",
        markup.paragraph(f"A mock of the Yeedu API at {base}/api/v1/; its description is at {base}/docs."),
        markup.heading("Jobs and notebooks"),
        markup.table(("Name", "Kind", "Workspace", "URL to paste"), definition_rows),
        markup.heading("Latest runs"),
        _run_table(runs),
    )


@router.get(UI_WORKSPACE)
async def workspace_page(tenant: str, workspace_id: Identifier, mock: TheMock) -> Response:
    """Show a workspace: what can be run in it, and its latest runs."""
    workspace = mock.store.get(Workspace, workspace_id)
    if workspace is None or workspace.tenant != tenant:
        raise NotFoundError("There is nothing at this address.")
    rows = (
        (markup.link(definition.name, definition_path(definition, tenant)), markup.text(definition.kind))
        for kind in (JobDefinition, NotebookDefinition)
        for definition in mock.store.all(kind)
        if definition.workspace_id == workspace_id
    )
    runs = [run for run in mock.store.all(Run) if run.workspace_id == workspace_id]
    return markup.page(
        f"Workspace {workspace.name}",
        markup.paragraph(workspace.description),
        markup.heading("Jobs and notebooks"),
        markup.table(("Name", "Kind"), rows),
        markup.heading("Latest runs"),
        _run_table(runs[: -MAX_PAGE_RUNS - 1 : -1]),
    )


@router.get(UI_WORKSPACE + "/spark/job/{definition_id}")
@router.get(UI_WORKSPACE + "/job/{definition_id}")
@router.get(UI_WORKSPACE + "/spark/conf/{definition_id}")
@router.get(UI_WORKSPACE + "/spark/conf/{definition_id}/metrics")
async def job_page(
    tenant: str, workspace_id: Identifier, definition_id: Identifier, mock: TheMock
) -> Response:
    """Show a job and its runs."""
    definition = mock.store.get(JobDefinition, definition_id)
    return _definition_page(
        mock, tenant, workspace_id, definition, definition and markup.block(definition.program)
    )


@router.get(UI_WORKSPACE + "/spark/notebook/{definition_id}")
@router.get(UI_WORKSPACE + "/notebook/{definition_id}")
async def notebook_page(
    tenant: str, workspace_id: Identifier, definition_id: Identifier, mock: TheMock
) -> Response:
    """Show a notebook and its runs."""
    definition = mock.store.get(NotebookDefinition, definition_id)
    content = definition and markup.notebook_cells(definition.content)
    return _definition_page(mock, tenant, workspace_id, definition, content)


@router.get(UI_WORKSPACE + "/spark/{run_id}/run-metrics")
@router.get(UI_WORKSPACE + "/run/{run_id}/run-metrics")
async def run_page(tenant: str, workspace_id: Identifier, run_id: Identifier, mock: TheMock) -> Response:
    """Show a run: its state, its logs, a notebook's outputs."""
    run = _run(mock, tenant, workspace_id, run_id)
    parts = [
        markup.facts(
            {
                "State": run.status,
                "Submitted": run.created_at.isoformat(timespec="seconds"),
                "Duration": f"{run.duration_seconds:.1f} s",
                "By": run.created_by,
                "Arguments": run.arguments or "",
                "Conf": ", ".join(run.conf),
            }
            | ({"Exit code": run.exit_code} if run.exit_code is not None else {})
        ),
        *(markup.paragraph(error) for error in run.errors),
        *(_log_block(mock, run, stream) for stream in ("stdout", "stderr")),
    ]
    if run.notebook is not None:
        parts.append(markup.notebook_cells(run.notebook))
    refresh = None if run.status.is_terminal else REFRESH_SECONDS
    return markup.page(f"Run {run.id} of {run.definition_name}", *parts, refresh_seconds=refresh)


@router.get(UI_WORKSPACE + "/spark/run/{run_id}/run-logs")
@router.get(UI_WORKSPACE + "/spark/{run_id}/run-logs")
@router.get(UI_WORKSPACE + "/run/{run_id}/run-logs")
async def run_logs_page(
    tenant: str,
    workspace_id: Identifier,
    run_id: Identifier,
    mock: TheMock,
    log_type: Annotated[str, Query()] = "stdout",
) -> Response:
    """Show one log of a run."""
    run = _run(mock, tenant, workspace_id, run_id)
    refresh = None if run.status.is_terminal else REFRESH_SECONDS
    return markup.page(
        f"Run {run.id} of {run.definition_name}: {run.status}",
        _log_block(mock, run, log_type),
        refresh_seconds=refresh,
    )


def _definition_page(
    mock: Mock, tenant: str, workspace_id: int, definition: Definition | None, content: str | None
) -> Response:
    workspace = mock.store.get(Workspace, workspace_id)
    if (
        definition is None
        or definition.workspace_id != workspace_id
        or not workspace
        or workspace.tenant != tenant
    ):
        raise NotFoundError("There is nothing at this address.")
    runs = [run for run in mock.store.all(Run) if run.definition_key == definition.key]
    return markup.page(
        definition.name,
        content or "",
        markup.heading("Latest runs"),
        _run_table(runs[: -MAX_PAGE_RUNS - 1 : -1]),
    )


def _run_table(runs: list[Run]) -> str:
    rows = (
        (
            markup.link(run.id, run_path(run)),
            markup.text(run.definition_name),
            markup.text(run.status),
            markup.text(run.created_at.isoformat(timespec="seconds")),
            markup.text(f"{run.duration_seconds:.1f} s"),
        )
        for run in runs
    )
    return markup.table(("Run", "Of", "State", "Submitted", "Duration"), rows)


def _log_block(mock: Mock, run: Run, stream: str) -> str:
    content = read_tail(mock.runs.log_path(run, stream), MAX_PAGE_LOG_LINES, None)
    return markup.heading(stream) + markup.block(content.decode("utf-8", "replace"))


def _run(mock: Mock, tenant: str, workspace_id: int, run_id: int) -> Run:
    run = mock.store.get(Run, run_id)
    if run is None or run.tenant != tenant or run.workspace_id != workspace_id:
        raise NotFoundError(f"There is no run {run_id} at this address.")
    return run


def _overview_json(
    base: str, definitions: list[tuple[Any, Workspace]], runs: list[Run], mock: Mock
) -> dict[str, Any]:
    urls = {
        definition.id: base + definition_path(definition, space.tenant) for definition, space in definitions
    }
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
            {"job_id": definition.id, "name": definition.name, "url": urls[definition.id]}
            for definition, _ in definitions
            if isinstance(definition, JobDefinition)
        ],
        "notebooks": [
            {"notebook_id": definition.id, "name": definition.name, "url": urls[definition.id]}
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
