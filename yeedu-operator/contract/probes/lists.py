"""Which APIs there are, and how they list runs."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from contract.routes import NEWER, OLDER
from contract.scan import UNKNOWN_ID, described
from contract.timestamps import moment_of

if TYPE_CHECKING:
    from contract.scan import Scan
    from contract.server import JsonObject

OK, NOT_FOUND = 200, 404
PAGE_RUNS = 100


def probe_apis(scan: Scan) -> None:
    """Find out which APIs there are: a run of the one is asked for in the other, too."""
    unknown = {
        name: scan.server.workspace("GET", routes["job"].run.format(run=UNKNOWN_ID))
        for name, routes in (("newer", NEWER), ("older", OLDER))
    }
    newer = scan.list_runs("job", limit=1)
    scan.routes = dict(OLDER)
    older = scan.list_runs("job", limit=1)
    is_newer = newer.status == OK
    is_older = any(OLDER["job"].state_field in run for run in older.items)
    scan.routes = dict(NEWER if is_newer or not is_older else OLDER)
    if is_newer and newer.items:
        older = scan.server.workspace("GET", OLDER["job"].run.format(run=newer.items[0].get("run_id")))
        is_older = older.status == OK
    nothing_ran = not newer.items and not is_older
    for key, is_there, answer in (("newer-api", is_newer, newer), ("older-api", is_older, older)):
        absent = None if nothing_ran else False
        scan.findings.note(key, is_there or absent, "" if is_there else described(answer))
    if is_newer and is_older:
        scan.findings.note("other-api", None, "both are served")
    elif is_newer or is_older:
        scan.expect("other-api", unknown["older" if is_newer else "newer"], NOT_FOUND)


def probe_lists(scan: Scan) -> None:
    """List earlier runs: in which order, page by page, and those of one job alone."""
    for kind in ("job", "notebook"):
        answer = scan.list_runs(kind, limit=PAGE_RUNS, pageNumber=1)
        scan.runs[kind] = answer.items if answer.status == OK else []
    runs = scan.runs["job"] or scan.runs["notebook"]
    kind = "job" if scan.runs["job"] else "notebook"
    _probe_an_empty_list(scan, kind)
    if not runs:
        scan.findings.notes.append("The workspace has no earlier runs; run something there to see more.")
        return
    scan.findings.note("list-count", "result_set" in scan.list_runs(kind, limit=1).fields)
    _probe_order(scan, kind, runs)
    _probe_pages(scan, kind, runs)
    _probe_ids(scan)


def _probe_an_empty_list(scan: Scan, kind: str) -> None:
    """Ask for the runs of a job that cannot be there."""
    answer = scan.list_runs(kind, **{scan.routes[kind].definition_filter: UNKNOWN_ID})
    if answer.items:
        scan.findings.note("list-filter", False, "runs of others came")
        scan.findings.note("list-empty", None, "no list was empty")
        return
    scan.refused(answer)
    scan.findings.note("list-filter", True if scan.runs[kind] else None, "" if scan.runs[kind] else "no runs")
    scan.expect("list-empty", answer, OK)


def _probe_order(scan: Scan, kind: str, runs: list[JsonObject]) -> None:
    """Compare the times of neighbours, or their ids where runs show no times."""
    moments = [moment for run in runs if (moment := moment_of(run.get("created_at")))]
    by_time = len(moments) == len(runs)
    marks = moments if by_time else [int(run.get(scan.routes[kind].run_field) or 0) for run in runs]
    falls = sum(one > other for one, other in pairwise(marks))  # type: ignore[operator]
    rises = sum(one < other for one, other in pairwise(marks))  # type: ignore[operator]
    what = f"{len(runs)} runs, by {'time' if by_time else 'id'}"
    scan.findings.note("list-order", None if falls == rises == 0 else rises == 0, what)


def _probe_pages(scan: Scan, kind: str, runs: list[JsonObject]) -> None:
    """Ask for the first two runs one by one."""
    field = scan.routes[kind].run_field
    wanted = [run.get(field) for run in runs[:2]]
    if len(wanted) < 2:
        scan.findings.note("list-pages", None, "there is one run")
        return
    pages = [scan.list_runs(kind, limit=1, pageNumber=number).items for number in (1, 2)]
    scan.findings.note(
        "list-pages", [[run.get(field) for run in page] for page in pages] == [[one] for one in wanted]
    )


def _probe_ids(scan: Scan) -> None:
    """Look for ids that jobs' and notebooks' runs share."""
    ids = [
        {run.get(scan.routes[kind].run_field) for run in scan.runs[kind]} - {None}
        for kind in ("job", "notebook")
    ]
    if not all(ids):
        scan.findings.note("ids-apart", None, "there are runs of one kind alone")
        return
    scan.findings.note("ids-apart", not ids[0] & ids[1])
