"""Runs in the v1 and v1b generations, where `job_id` and `notebook_id` name an execution."""

from typing import Any, Literal

from fastapi import APIRouter, Response

from yeedu_mock.routes.access import Identifier, TheMock, TheWorkspace
from yeedu_mock.routes.responses import ByteCount, LineCount, log_file
from yeedu_mock.routes.run_responses import find_run, run_v1


def run_routes(kind: Literal["job", "notebook"]) -> APIRouter:
    """Return the routes of one kind of run, relative to `.../spark/job` or `.../notebook`."""
    router = APIRouter(tags=[f"{kind}s v1"])

    @router.get("/{run_id:identifier}")
    @router.get("/{run_id:identifier}/status")
    async def status(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
        """Return a run."""
        return run_v1(mock, find_run(mock, workspace, kind, run_id))

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
        run = find_run(mock, workspace, kind, run_id)
        return await log_file(mock, run, stream, last_n_lines, file_size_bytes)

    @router.post("/kill/{run_id:identifier}", status_code=201)
    async def kill(run_id: Identifier, workspace: TheWorkspace, mock: TheMock) -> dict[str, Any]:
        """Stop a run."""
        found = find_run(mock, workspace, kind, run_id)
        await mock.runs.stop(found)
        return run_v1(mock, found)

    return router


job_runs = run_routes("job")
notebook_runs = run_routes("notebook")
