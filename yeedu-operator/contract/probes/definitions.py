"""The workspace, a job and a notebook by their ids, and what unknown ids are answered with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract.look import UNKNOWN_ID
from contract.server import BODY_BYTES

if TYPE_CHECKING:
    from contract.look import Look
    from contract.server import JsonObject

OK, NOT_FOUND = 200, 404


def look_at_definitions(look: Look) -> None:
    """Read the workspace, a job and a notebook: those that were named, or those of the latest runs."""
    workspace = look.server.ask("GET", "workspace", params={"workspace_id": look.settings.place.workspace})
    look.expect("workspace", workspace, OK)
    job = _read(look, "job", look.settings.place.job)
    if job:
        look.findings.note("job-cluster", "cluster_id" in job)
    notebook = _read(look, "notebook", look.settings.place.notebook)
    if notebook:
        kind = notebook.get("spark_job_type")
        look.findings.note("notebook-language", isinstance(kind, dict) and "language" in kind)
    _look_at_cells(look)


def look_at_errors(look: Look) -> None:
    """Ask for a run and a job that cannot be there."""
    look.expect("unknown-run", look.refused(look.read_run("job", UNKNOWN_ID)), NOT_FOUND)
    routes = look.routes["job"]
    answer = look.server.workspace("GET", routes.definition, params={routes.definition_field: UNKNOWN_ID})
    look.expect("unknown-definition", look.refused(answer), NOT_FOUND)


def sum_up_errors(look: Look) -> None:
    """Look back at all that was refused."""
    with_code = sum(answer.is_from_yeedu for answer in look.errors)
    all_have = with_code == len(look.errors)
    look.findings.note("error-code", all_have if look.errors else None, f"{with_code} of {len(look.errors)}")
    limited = look.server.limited
    look.findings.note("unlimited", not limited, f"{limited} calls" if limited else "")


def _read(look: Look, kind: str, named: int | None) -> JsonObject:
    """Read a job or notebook, and note whether that can be done."""
    ids = [named, *(look.definition_of(kind, run) for run in look.runs.get(kind, []))]
    known = next((one for one in ids if one is not None), None)
    if known is None:
        look.findings.note(kind, None, "none is known; name one in YEEDU_URL")
        return {}
    routes = look.routes[kind]
    answer = look.server.workspace("GET", routes.definition, params={routes.definition_field: known})
    return answer.fields if look.expect(kind, answer, OK) else {}


def _look_at_cells(look: Look) -> None:
    """Download the notebook of the latest run."""
    if not look.is_newer:
        look.findings.note("notebook-cells", None, "the older API has no such call")
        return
    for run in look.runs.get("notebook", [])[:1]:
        path = f"notebook/{look.definition_of('notebook', run)}/run/{run.get('run_id')}/download"
        answer = look.server.workspace("GET", path)
        if len(answer.content) >= BODY_BYTES:
            look.findings.note("notebook-cells", None, "it is too large to look at")
        elif look.expect("notebook-cells", answer, OK):
            look.findings.note("notebook-cells", isinstance(answer.fields.get("cells"), list))
