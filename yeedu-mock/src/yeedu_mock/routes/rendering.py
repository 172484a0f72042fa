"""Renders the mock's pages: values are escaped, nothing is loaded from elsewhere, only our script runs."""

import secrets
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from yeedu_mock.routes.notebook_cells import cells_of
from yeedu_mock.state.enums import RunStatus
from yeedu_mock.state.records import Definition, JobDefinition, Run, Workspace

UI_WORKSPACE = "/tenant/{tenant}/workspace/{workspace_id}"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; "
    "img-src data:; frame-src 'self'; form-action 'self'"
)
WHY = {
    (None, RunStatus.SUBMITTED): "It waits to be started.",
    (None, RunStatus.STOPPING): "It is being stopped.",
    (None, RunStatus.TERMINATED): "The platform has ended it.",
    ("job", RunStatus.STOPPED): "Somebody has stopped it.",
    ("notebook", RunStatus.RUNNING): "Its kernel runs until the client that started it stops it.",
    ("notebook", RunStatus.STOPPED): (
        "Its client has stopped it, which is how a notebook's run ends: by itself it never does."
    ),
}


def definition_path(definition: Definition, tenant: str) -> str:
    """Return the UI path of a job or notebook, which users also paste into their flows."""
    kind = "job" if isinstance(definition, JobDefinition) else "notebook"
    return f"/tenant/{tenant}/workspace/{definition.workspace_id}/spark/{kind}/{definition.id}"


def workspace_path(workspace: Workspace) -> str:
    """Return the UI path of a workspace."""
    return UI_WORKSPACE.format(tenant=workspace.tenant, workspace_id=workspace.id)


def run_path(run: Run) -> str:
    """Return the UI path of a run."""
    kind = "spark_job" if run.type == "job" else "notebook"
    return f"/tenant/{run.tenant}/workspace/{run.workspace_id}/run/{run.id}/run-metrics?type={kind}"


def why(run: Run) -> str:
    """Return why a run has its state, where that is not obvious."""
    return WHY.get((run.type, run.status)) or WHY.get((None, run.status), "")


FUNCTIONS = {
    "cells_of": cells_of,
    "definition_path": definition_path,
    "run_path": run_path,
    "why": why,
    "workspace_path": workspace_path,
}
environment = Environment(
    loader=PackageLoader("yeedu_mock"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def page(template: str, title: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page from a template.

    Args:
        template: The template's name, without its extension.
        title: The page's title.
        status_code: The answer's status.
        values: What the template shows.
    """
    nonce = secrets.token_urlsafe(16)
    shown = {**FUNCTIONS, "title": title, "nonce": nonce, "refresh_seconds": None, **values}
    content = environment.get_template(f"{template}.html").render(shown)
    headers = {"Content-Security-Policy": POLICY.format(nonce=nonce), "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(content, status_code, headers)
