"""Which APIs there are, and how they list runs."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from contract.look import UNKNOWN_ID, described
from contract.moments import moment_of
from contract.routes import NEWER, OLDER

if TYPE_CHECKING:
    from contract.look import Look
    from contract.server import JsonObject

OK, NOT_FOUND = 200, 404
PAGE_RUNS = 100


def look_at_apis(look: Look) -> None:
    """Find out which APIs there are: a run of the one is asked for in the other, too."""
    unknown = {
        name: look.server.workspace("GET", routes["job"].run.format(run=UNKNOWN_ID))
        for name, routes in (("newer", NEWER), ("older", OLDER))
    }
    newer = look.list_runs("job", limit=1)
    look.routes = dict(OLDER)
    older = look.list_runs("job", limit=1)
    is_newer = newer.status == OK
    is_older = any(OLDER["job"].state_field in run for run in older.items)
    look.routes = dict(NEWER if is_newer or not is_older else OLDER)
    if is_newer and newer.items:
        older = look.server.workspace("GET", OLDER["job"].run.format(run=newer.items[0].get("run_id")))
        is_older = older.status == OK
    nothing_ran = not newer.items and not is_older
    for key, is_there, answer in (("newer-api", is_newer, newer), ("older-api", is_older, older)):
        absent = None if nothing_ran else False
        look.findings.note(key, is_there or absent, "" if is_there else described(answer))
    if is_newer and is_older:
        look.findings.note("other-api", None, "both are served")
    elif is_newer or is_older:
        look.expect("other-api", unknown["older" if is_newer else "newer"], NOT_FOUND)


def look_at_lists(look: Look) -> None:
    """List earlier runs: in which order, page by page, and those of one job alone."""
    for kind in ("job", "notebook"):
        answer = look.list_runs(kind, limit=PAGE_RUNS, pageNumber=1)
        look.runs[kind] = answer.items if answer.status == OK else []
    runs = look.runs["job"] or look.runs["notebook"]
    kind = "job" if look.runs["job"] else "notebook"
    _look_at_an_empty_list(look, kind)
    if not runs:
        look.findings.notes.append("The workspace has no earlier runs; run something there to see more.")
        return
    look.findings.note("list-count", "result_set" in look.list_runs(kind, limit=1).fields)
    _look_at_order(look, kind, runs)
    _look_at_pages(look, kind, runs)
    _look_at_ids(look)


def _look_at_an_empty_list(look: Look, kind: str) -> None:
    """Ask for the runs of a job that cannot be there."""
    answer = look.list_runs(kind, **{look.routes[kind].definition_filter: UNKNOWN_ID})
    if answer.items:
        look.findings.note("list-filter", False, "runs of others came")
        look.findings.note("list-empty", None, "no list was empty")
        return
    look.refused(answer)
    look.findings.note("list-filter", True if look.runs[kind] else None, "" if look.runs[kind] else "no runs")
    look.expect("list-empty", answer, OK)


def _look_at_order(look: Look, kind: str, runs: list[JsonObject]) -> None:
    """Compare the times of neighbours, or their ids where runs show no times."""
    moments = [moment for run in runs if (moment := moment_of(run.get("created_at")))]
    by_time = len(moments) == len(runs)
    marks = moments if by_time else [int(run.get(look.routes[kind].run_field) or 0) for run in runs]
    falls = sum(one > other for one, other in pairwise(marks))  # type: ignore[operator]
    rises = sum(one < other for one, other in pairwise(marks))  # type: ignore[operator]
    what = f"{len(runs)} runs, by {'time' if by_time else 'id'}"
    look.findings.note("list-order", None if falls == rises == 0 else rises == 0, what)


def _look_at_pages(look: Look, kind: str, runs: list[JsonObject]) -> None:
    """Ask for the first two runs one by one."""
    field = look.routes[kind].run_field
    wanted = [run.get(field) for run in runs[:2]]
    if len(wanted) < 2:
        look.findings.note("list-pages", None, "there is one run")
        return
    pages = [look.list_runs(kind, limit=1, pageNumber=number).items for number in (1, 2)]
    look.findings.note(
        "list-pages", [[run.get(field) for run in page] for page in pages] == [[one] for one in wanted]
    )


def _look_at_ids(look: Look) -> None:
    """Look for ids that jobs' and notebooks' runs share."""
    ids = [
        {run.get(look.routes[kind].run_field) for run in look.runs[kind]} - {None}
        for kind in ("job", "notebook")
    ]
    if not all(ids):
        look.findings.note("ids-apart", None, "there are runs of one kind alone")
        return
    look.findings.note("ids-apart", not ids[0] & ids[1])
