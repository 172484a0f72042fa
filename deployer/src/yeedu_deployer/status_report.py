"""Shows what `deployer status` found."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict

from yeedu_deployer.planned.status import DeploymentStatus, State, is_in_step
from yeedu_deployer.report import Printed, Report, brief

# What each state means, where it needs a word, and how it looks.
STATES = {
    State.IN_STEP: ("", "green"),
    State.FILE_CHANGED: ("the next apply writes what the file says now", "yellow"),
    State.EDITED: ("someone changed it on the server; apply keeps that", "yellow"),
    State.MISSING: ("the next apply creates it", "red"),
    State.DROPPED: ("the next apply deletes it", "red"),
    State.FOREIGN: ("", "dim"),
    State.FAILED: ("the file's deployment cannot be applied", "bold red"),
}
COLUMNS = ("deployment", "state", "last run", "next run", "workers")


def print_status(rows: Sequence[DeploymentStatus], report: Report, *, as_json: bool = False) -> None:
    """Print the rows to standard output and the report's failures to standard error."""
    if as_json:
        deployments = [
            asdict(row)
            | {"drift": [{"field": one.field, "server": one.old, "file": one.new} for one in row.drift]}
            for row in rows
        ]
        is_same = is_in_step(rows) and not report.failures
        report.print_document("status", {"in_step": is_same, "deployments": deployments})
    else:
        report.print_rows([_printed(row) for row in rows], COLUMNS, below=2)


def _printed(row: DeploymentStatus) -> Printed:
    meaning, style = STATES[row.state]
    cells = (
        f"{row.last_run.state} {_time(row.last_run.time)}" if row.last_run else "none",
        "paused" if row.paused else _time(row.next_run) if row.next_run else "none",
        ", ".join(row.workers) or "none polls",
    )
    labelled = "  ".join(f"{label} {cell}" for label, cell in zip(COLUMNS[2:], cells, strict=True))
    drift = (f"{one.field}: server {brief(one.old)}, file {brief(one.new)}" for one in row.drift)
    below = list(filter(None, (meaning, *drift)))
    return Printed(f"{row.name}: {row.state}  {labelled}", (row.name, row.state, *cells), style, below)


def _time(time: dt.datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
