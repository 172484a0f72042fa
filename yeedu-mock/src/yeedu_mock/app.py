"""Builds the web application of a mock."""

from __future__ import annotations

import contextlib
import logging
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from yeedu_mock.control.allowed_hosts import Names
from yeedu_mock.control.middleware import RequestWatch
from yeedu_mock.errors import MockError, UnknownIdError
from yeedu_mock.routes import (
    ambiguous_routes,
    clusters,
    control,
    definitions_v1,
    definitions_v2,
    kernels,
    login,
    lookups,
    notebook_files,
    pages,
    runs_v1,
    runs_v2,
    single_sign_on,
    users,
    workspaces,
)
from yeedu_mock.routes.administration import (
    cluster_confs,
    cluster_history,
    directory,
    export_import,
    workspace_access,
    workspace_clusters,
    workspace_files,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from fastapi import FastAPI, Request

    from yeedu_mock.mock import Mock

logger = logging.getLogger(__name__)

API = "/api/v1"
ACCESS = API + "/ac/workspace/{workspace_id}"
JOB = API + "/workspace/{workspace_id}/spark/job"
NOTEBOOK = API + "/workspace/{workspace_id}/notebook"


def create_app(mock: Mock) -> RequestWatch:
    """Return the application that serves a mock; its runs end when the application does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        mock.runs.start()
        mock.clusters.recover()
        try:
            yield
        finally:
            await mock.clusters.close()
            await mock.runs.close()
            mock.store.close()

    app = FastAPIOffline(title="Yeedu mock", version=version("yeedu-mock"), lifespan=lifespan)
    app.state.mock = mock
    for module in (
        *(login, lookups, users, workspaces, workspace_clusters, workspace_files, export_import),
        *(clusters, cluster_confs, cluster_history),
        *(ambiguous_routes, kernels, notebook_files),
    ):
        app.include_router(module.router, prefix=API)
    app.include_router(workspace_access.lookup, prefix=API)
    for people in (workspace_access.of_users, workspace_access.of_groups):
        app.include_router(people, prefix=ACCESS)
    for people in (directory.users, directory.groups):
        app.include_router(people, prefix=API)
    for generation in (runs_v1, runs_v2):
        app.include_router(generation.job_runs, prefix=JOB)
        app.include_router(generation.notebook_runs, prefix=NOTEBOOK)
    app.include_router(definitions_v1.job_confs, prefix=JOB)
    app.include_router(definitions_v1.notebook_confs, prefix=NOTEBOOK)
    app.include_router(definitions_v2.job_definitions, prefix=JOB)
    app.include_router(definitions_v2.notebook_definitions, prefix=NOTEBOOK)
    if mock.settings.control:
        app.include_router(control.router)
    app.include_router(single_sign_on.router)
    app.include_router(pages.router)
    app.add_exception_handler(MockError, _mock_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _unexpected_error)
    names = Names(mock.settings.allowed_hosts, mock.settings.external_url)
    return RequestWatch(app, mock.control, names, mock.sessions)


def _mock_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MockError)  # noqa: S101 - registered for nothing else
    mock: Mock = request.app.state.mock
    is_unknown = isinstance(error, UnknownIdError)
    status = mock.control.switches.not_found_status if is_unknown else error.status
    return JSONResponse(error.body(), status_code=status)


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    wrong = MockError(error.detail, code=f"RFA-000{error.status_code}")
    return JSONResponse(wrong.body(), status_code=error.status_code, headers=error.headers)


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    wrong = MockError(f"The request is wrong at {place}: {first['msg']}.", code="RFA-000400")
    return JSONResponse(wrong.body(), status_code=400)


def _unexpected_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse(MockError(f"The mock failed: {type(error).__name__}.").body(), status_code=500)
