"""The workspace, a job and a notebook by their ids, and what unknown ids are answered with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract.scan import UNKNOWN_ID
from contract.server import BODY_BYTES

if TYPE_CHECKING:
    from contract.scan import Scan
    from contract.server import JsonObject

OK, NOT_FOUND = 200, 404


def probe_definitions(scan: Scan) -> None:
    """Read the workspace, a job and a notebook: those that were named, or those of the latest runs."""
    workspace = scan.server.ask("GET", "workspace", params={"workspace_id": scan.settings.place.workspace})
    scan.expect("workspace", workspace, OK)
    job = _read(scan, "job", scan.settings.place.job)
    if job:
        scan.findings.note("job-cluster", "cluster_id" in job)
    notebook = _read(scan, "notebook", scan.settings.place.notebook)
    if notebook:
        kind = notebook.get("spark_job_type")
        scan.findings.note("notebook-language", isinstance(kind, dict) and "language" in kind)
    _probe_cells(scan)


def probe_errors(scan: Scan) -> None:
    """Ask for a run and a job that cannot be there."""
    scan.expect("unknown-run", scan.refused(scan.read_run("job", UNKNOWN_ID)), NOT_FOUND)
    routes = scan.routes["job"]
    answer = scan.server.workspace("GET", routes.definition, params={routes.definition_field: UNKNOWN_ID})
    scan.expect("unknown-definition", scan.refused(answer), NOT_FOUND)


def sum_up_errors(scan: Scan) -> None:
    """Sum up all refusals."""
    with_code = sum(answer.is_from_yeedu for answer in scan.errors)
    all_have = with_code == len(scan.errors)
    scan.findings.note("error-code", all_have if scan.errors else None, f"{with_code} of {len(scan.errors)}")
    limited = scan.server.limited
    scan.findings.note("unlimited", not limited, f"{limited} calls" if limited else "")


def _read(scan: Scan, kind: str, named: int | None) -> JsonObject:
    """Read a job or notebook, and note whether that can be done."""
    ids = [named, *(scan.definition_of(kind, run) for run in scan.runs.get(kind, []))]
    known = next((one for one in ids if one is not None), None)
    if known is None:
        scan.findings.note(kind, None, "none is known; name one in YEEDU_URL")
        return {}
    routes = scan.routes[kind]
    answer = scan.server.workspace("GET", routes.definition, params={routes.definition_field: known})
    return answer.fields if scan.expect(kind, answer, OK) else {}


def _probe_cells(scan: Scan) -> None:
    """Download the notebook of the latest run."""
    if not scan.is_newer:
        scan.findings.note("notebook-cells", None, "the older API has no such call")
        return
    for run in scan.runs.get("notebook", [])[:1]:
        path = f"notebook/{scan.definition_of('notebook', run)}/run/{run.get('run_id')}/download"
        answer = scan.server.workspace("GET", path)
        if len(answer.content) >= BODY_BYTES:
            scan.findings.note("notebook-cells", None, "it is too large to look at")
        elif scan.expect("notebook-cells", answer, OK):
            scan.findings.note("notebook-cells", isinstance(answer.fields.get("cells"), list))
