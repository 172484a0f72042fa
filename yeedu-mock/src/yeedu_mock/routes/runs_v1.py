"""Runs in the v1 and v1b generations, where `job_id` and `notebook_id` name an execution."""

from typing import Any, Literal

from fastapi import APIRouter, Response

from yeedu_mock.routes.access import Identifier, TheMock, TheWorkspace, find_run
from yeedu_mock.routes.answers import ByteCount, LineCount, log_file
from yeedu_mock.state.records import Run


def run_v1(run: Run) -> dict[str, Any]:
    """Return a run in the form of the v1 generation."""
    return {
        f"{run.type}_id": run.id,
        f"{run.type}_status": run.status,
        f"{run.type}_conf_id": run.definition_id,
        f"{run.type}_conf_name": run.definition_name,
        "workspace_id": run.workspace_id,
        "cluster_id": run.cluster_id,
        "arguments": run.arguments,
        "conf": run.conf,
        "created_by": run.created_by,
        "created_at": run.created_at.isoformat(),
        "job_execution_time_sec": round(run.duration_seconds, 3),
    }


def run_routes(kind: Literal["job", "notebook"]) -> APIRouter:
    """Return the routes of one kind of run, relative to `.../spark/job` or `.../notebook`."""
    router = APIRouter(tags=[f"{kind}s v1"])

    @router.get("/{run_id:identifier}")
    @router.get("/{run_id:identifier}/status")
    async def status(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
        """Return a run."""
        return run_v1(find_run(mock, workspace, kind, run_id))

    @router.get("/{run_id:identifier}/log/{stream}")
    async def log(
        run_id: Identifier,
        stream: str,
        workspace: TheWorkspace,
        mock: TheMock,
        last_n_lines: LineCount = None,
        file_size_bytes: ByteCount = None,
    ) -> Response:
        """Return a run's output so far."""
        path = mock.runs.log_path(find_run(mock, workspace, kind, run_id), stream)
        return await log_file(path, last_n_lines, file_size_bytes)

    @router.post("/kill/{run_id:identifier}", status_code=201)
    async def kill(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
        """Stop a run."""
        found = find_run(mock, workspace, kind, run_id)
        await mock.runs.stop(found)
        return run_v1(found)

    return router


job_runs = run_routes("job")
notebook_runs = run_routes("notebook")
