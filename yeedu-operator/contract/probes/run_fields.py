"""What run objects show, in lists and one by one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contract.assumptions import RUN_FIELDS
from contract.findings import word
from contract.scan import STATES
from contract.timestamps import has_zone, moment_of

if TYPE_CHECKING:
    from contract.scan import Scan
    from contract.server import JsonObject

OK = 200
CLOCK_SECONDS = 10.0
# The older API has another name for it.
OTHER_NAMES = {"execution_time_sec": ("job_execution_time_sec",)}


def probe_fields(scan: Scan) -> None:
    """Read the latest run that has ended, and compare it with what its list shows."""
    kind = "job" if scan.ended("job") else "notebook"
    ended = scan.ended(kind)
    if not ended:
        return
    listed = ended[0]
    answer = scan.read_run(kind, int(listed.get(scan.routes[kind].run_field) or 0))
    if answer.status != OK:
        return
    run = answer.fields
    for name, row in RUN_FIELDS.items():
        scan.findings.note(row.key, any(one in run for one in (name, *OTHER_NAMES.get(name, ()))))
    scan.findings.note("run-definition", scan.definition_of(kind, run) is not None)
    hidden = sorted(run.keys() - listed.keys())
    scan.findings.note("list-fields", not hidden, f"{len(hidden)} fields are missing" if hidden else "")
    if moment_of(run.get("created_at")) is not None:
        scan.findings.note("time-zone", has_zone(run.get("created_at")))
    else:
        scan.findings.note("time-zone", None, "no time is shown")
    _probe_states(scan)
    clock = answer.clock_seconds
    if clock is None:
        scan.findings.note("clock", None, "answers have no Date")
    else:
        difference = abs(clock - time.time())
        scan.findings.note("clock", difference < CLOCK_SECONDS, f"{difference:.0f} s")


def _probe_states(scan: Scan) -> None:
    """Look for states that nobody knows."""
    found = {word(run.get(scan.routes[kind].state_field)) for kind in scan.runs for run in _of(scan, kind)}
    strange = sorted(found - STATES)
    scan.findings.note("states", not strange, ", ".join(strange or sorted(found)))


def _of(scan: Scan, kind: str) -> list[JsonObject]:
    return scan.runs[kind]
