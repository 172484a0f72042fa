"""Runs a job once: how it is started, when it can be seen, and how it is stopped."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, cast

from contract.probes.started_run import POLL_SECONDS, START_SECONDS, VISIBLE_SECONDS, Started, start
from contract.scan import ENDED, described

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract.scan import Scan

OK = 200
PROMPT_SECONDS = 5.0
KEY = "spark.yeedu.contract_key"
STOP_KEYS = {"stop": "stop", "prompt": "stop-prompt", "state": "stop-state", "again": "stop-again"}


def run_a_job(scan: Scan) -> None:
    """Start the job that was named, watch it until it runs, and stop it."""
    job = scan.settings.place.job
    if job is None:
        return
    entry = f"{KEY}={secrets.token_hex(8)}"
    run = start(scan, "job", job, "submit", [entry] if scan.is_newer else [])
    if run is None:
        return
    try:
        seconds = run.submission.seconds
        scan.findings.note("submit-prompt", seconds <= PROMPT_SECONDS, f"{seconds:.1f} s")
        _find_run(run, job, entry)
        state = run.wait_for(ENDED | {"RUNNING"}, START_SECONDS)
        if state not in ENDED | {"RUNNING"}:
            scan.findings.notes.append(
                f"The job's run was {state} for {START_SECONDS:.0f} s, and was stopped."
            )
        run.stop(STOP_KEYS)
    finally:
        run.make_sure_it_ends()


def _find_run(run: Started, job: int, entry: str) -> None:
    """See when the run can be read and is in the list, and whether it shows the conf entry."""
    scan, routes = run.scan, run.scan.routes["job"]

    def is_listed() -> bool:
        items = scan.list_runs("job", **{routes.definition_filter: job}).items
        return any(item.get(routes.run_field) == run.run_id for item in items)

    read = scan.read_run("job", run.run_id)
    listed = is_listed()
    scan.findings.note("submit-read", read.status == OK, described(read))
    scan.findings.note("submit-listed", listed)
    if not listed and _comes(is_listed):
        scan.findings.note("submit-listed", False, "it came later")
    if not scan.is_newer:
        scan.findings.note("submit-conf", None, "the older API takes no conf entries")
        return
    if not _comes(lambda: scan.read_run("job", run.run_id).status == OK):
        scan.findings.note("submit-conf", None, "the run cannot be read")
        return
    conf = scan.read_run("job", run.run_id).fields.get("conf")
    entries = cast("list[object]", conf) if isinstance(conf, list) else []
    is_shown = any(str(one).replace(" ", "") == entry for one in entries)
    scan.findings.note("submit-conf", is_shown, "" if entries else "no conf is shown")


def _comes(is_so: Callable[[], bool]) -> bool:
    """Tell whether something is so before long."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found
