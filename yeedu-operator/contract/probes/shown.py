"""What run objects show, in lists and one by one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contract.assumptions import RUN_FIELDS
from contract.findings import word
from contract.look import STATES
from contract.moments import has_zone, moment_of

if TYPE_CHECKING:
    from contract.look import Look
    from contract.server import JsonObject

OK = 200
CLOCK_SECONDS = 10.0
# The older API has another name for it.
OTHER_NAMES = {"execution_time_sec": ("job_execution_time_sec",)}


def look_at_fields(look: Look) -> None:
    """Read the latest run that has ended, and compare it with what its list shows."""
    kind = "job" if look.ended("job") else "notebook"
    ended = look.ended(kind)
    if not ended:
        return
    listed = ended[0]
    answer = look.read_run(kind, int(listed.get(look.routes[kind].run_field) or 0))
    if answer.status != OK:
        return
    run = answer.fields
    for name, row in RUN_FIELDS.items():
        look.findings.note(row.key, any(one in run for one in (name, *OTHER_NAMES.get(name, ()))))
    look.findings.note("run-definition", look.definition_of(kind, run) is not None)
    hidden = sorted(run.keys() - listed.keys())
    look.findings.note("list-fields", not hidden, f"{len(hidden)} fields are missing" if hidden else "")
    if moment_of(run.get("created_at")) is not None:
        look.findings.note("time-zone", has_zone(run.get("created_at")))
    else:
        look.findings.note("time-zone", None, "no time is shown")
    _look_at_states(look)
    clock = answer.clock_seconds
    if clock is None:
        look.findings.note("clock", None, "answers have no Date")
    else:
        difference = abs(clock - time.time())
        look.findings.note("clock", difference < CLOCK_SECONDS, f"{difference:.0f} s")


def _look_at_states(look: Look) -> None:
    """Look for states that nobody knows."""
    found = {word(run.get(look.routes[kind].state_field)) for kind in look.runs for run in _of(look, kind)}
    strange = sorted(found - STATES)
    look.findings.note("states", not strange, ", ".join(strange or sorted(found)))


def _of(look: Look, kind: str) -> list[JsonObject]:
    return look.runs[kind]
