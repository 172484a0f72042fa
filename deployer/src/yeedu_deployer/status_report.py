"""Prints what `deployer status` found: a table on a terminal, plain lines otherwise, or JSON."""

import datetime as dt
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from yeedu_deployer.planned.status import MEANINGS, DeploymentStatus, State
from yeedu_deployer.report import JSON_FORMAT, MAXIMUM_COLUMNS, brief, redacted, shown

STYLES = {
    State.IN_STEP: "green",
    State.FILE_CHANGED: "yellow",
    State.EDITED: "yellow",
    State.MISSING: "red",
    State.DROPPED: "red",
    State.FAILED: "bold red",
}
DIFFERENT = (State.FILE_CHANGED, State.EDITED, State.MISSING, State.DROPPED)
COLUMNS = ("deployment", "state", "last run", "next run", "workers")


def is_in_step(rows: Sequence[DeploymentStatus]) -> bool:
    """Tell whether the server has exactly what the file says; what the file never named does not count."""
    return not any(row.state in DIFFERENT for row in rows)


def print_status(
    rows: Sequence[DeploymentStatus],
    failures: Sequence[str],
    secrets: tuple[str, ...],
    *,
    as_json: bool = False,
) -> None:
    """Print the rows to standard output and the failures to standard error."""
    if as_json:
        document = redacted(json.loads(json.dumps(_document(rows, failures), default=_plain)), secrets)
        print(json.dumps(document, indent=2))
    elif sys.stdout.isatty():
        table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            cells = [Text(shown(cell, secrets)) for cell in _cells(row)]
            cells[1].stylize(STYLES.get(row.state, "dim"))
            table.add_row(*cells)
            for line in _drift_lines(row):
                table.add_row("", Text(shown(line, secrets), "dim"))
        Console(width=min(Console().width, MAXIMUM_COLUMNS)).print(table)
    else:
        for row in rows:
            name, state, *rest = _cells(row)
            labelled = [f"{label} {cell}" for label, cell in zip(COLUMNS[2:], rest, strict=True)]
            print(shown(f"{name}: {state}  {'  '.join(labelled)}", secrets))
            for line in _drift_lines(row):
                print(shown(f"    {line}", secrets))
    for failure in failures:
        print(f"error: {shown(failure, secrets)}", file=sys.stderr)


def _cells(row: DeploymentStatus) -> tuple[str, str, str, str, str]:
    last = f"{row.last_run.state} {_time(row.last_run.time)}" if row.last_run else "none"
    following = _time(row.next_run) if row.next_run else "none"
    workers = ", ".join(row.workers) or "none polls"
    return (row.name, row.state, last, "paused" if row.is_paused else following, workers)


def _drift_lines(row: DeploymentStatus) -> list[str]:
    lines = [f"{change.field}: server {brief(change.old)}, file {brief(change.new)}" for change in row.drift]
    return lines if row.state in (State.IN_STEP, State.FOREIGN) else [MEANINGS[row.state], *lines]


def _document(rows: Sequence[DeploymentStatus], failures: Sequence[str]) -> dict[str, object]:
    return {
        "format": JSON_FORMAT,
        "command": "status",
        "in_step": is_in_step(rows) and not failures,
        "deployments": [
            {
                "name": row.name,
                "state": row.state,
                "work_pool": row.work_pool,
                "workers": row.workers,
                "paused": row.is_paused,
                "last_run": row.last_run
                and {"id": row.last_run.id, "state": row.last_run.state, "time": row.last_run.time},
                "next_run": row.next_run,
                "drift": [
                    {"field": change.field, "server": change.old, "file": change.new} for change in row.drift
                ],
            }
            for row in rows
        ],
        "errors": list(failures),
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


def _time(time: dt.datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
