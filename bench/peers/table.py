"""Formats the figures of all peers as one table, and lists below it everything that this platform loses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OURS = "this platform"

Figures = dict[str, Any]


@dataclass(frozen=True)
class _Column:
    """A figure of the table.

    Attributes:
        title: Its heading.
        figure: Its name in `workloads`.
        workload: The workload that measures it.
        form: Formats it.
        more_is_better: Whether the best is the largest.
    """

    title: str
    figure: str
    workload: str
    form: Callable[[float], str]
    more_is_better: bool = False

    def best(self, rows: list[Figures]) -> float | None:
        """Return the best of all peers' figures, if one has it."""
        found = [row[self.figure] for row in rows if self.figure in row]
        choose = max if self.more_is_better else min
        return choose(found) if found else None


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _plain(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


_COLUMNS = (
    _Column("started p50", "started_p50", "empty flow", _seconds),
    _Column("started p99", "started_p99", "empty flow", _seconds),
    _Column("ended p50", "ended_p50", "empty flow", _seconds),
    _Column("ended p99", "ended_p99", "empty flow", _seconds),
    _Column("runs per minute", "runs_per_minute", "saturation", _plain, more_is_better=True),
    _Column("CPU s per run", "cpu_seconds_per_run", "saturation", lambda value: f"{value:.3f}"),
    _Column("40 x fibo(10)", "light_seconds", "40 x fibo(10)", _seconds),
    _Column("10 x fibo(33)", "heavy_seconds", "10 x fibo(33)", _seconds),
    _Column("tick late by, p50", "tick_p50", "ticks", _seconds),
    _Column("goes on after kill -9", "recovery_seconds", "killed worker", _seconds),
)


def table(results: dict[str, Figures]) -> str:
    """Return the peers' figures as a Markdown table, with notes below it.

    Args:
        results: Figures by the peer's key, as `workloads.measure` returns them, or only `name` and `failed`.
    """
    rows = list(results.values())
    measured = [row for row in rows if "failed" not in row]
    lines = [
        "| | process per run | " + " | ".join(column.title for column in _COLUMNS) + " |",
        "| --- " * (len(_COLUMNS) + 2) + "|",
    ]
    notes = list[str]()
    for row in measured:
        cells = [_cell(column, row, measured, notes) for column in _COLUMNS]
        own_process = "yes" if row["process_per_run"] else "no"
        lines.append(f"| {row['name']} {row['version']} | {own_process} | {' | '.join(cells)} |")
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['name']} | " + " | ".join(["-"] * (len(_COLUMNS) + 1)) + " |")
            notes.append(f"{row['name']} was not measured: {row['failed']}")
    sections = ["\n".join(lines)]
    sections += ["\n".join(f"- [{place}] {note}" for place, note in enumerate(notes, 1))] if notes else []
    sections += ["\n".join(_said(row) for row in measured)]
    sections += ["\n".join(_losses(measured))]
    return "\n\n".join(section for section in sections if section)


def _said(row: Figures) -> str:
    counts = f"{row.get('samples', 0)} samples, {row.get('saturation_runs', 0)} runs at saturation"
    return f"- {row['name']}: {row['consists_of']}; {counts}; measured at {row['measured_at']}."


def _cell(column: _Column, row: Figures, rows: list[Figures], notes: list[str]) -> str:
    if column.figure in row:
        text = column.form(row[column.figure])
        return f"**{text}**" if row[column.figure] == column.best(rows) else text
    if column.figure == "recovery_seconds" and "recovery" in row:
        return row["recovery"]
    name, reason = row["name"], row["reasons"].get(column.workload, "not tried")
    return f"- {_noted(f'{column.workload} of {name}: {reason}', notes)}"


def _noted(note: str, notes: list[str]) -> str:
    if note not in notes:
        notes.append(note)
    return f"[{notes.index(note) + 1}]"


def _losses(rows: list[Figures]) -> list[str]:
    """List, for each column, the peers that are better than this platform, with their figures."""
    own = next((row for row in rows if row["name"] == OURS), None)
    if not own:
        return []
    lines = list[str]()
    for column in _COLUMNS:
        comparable = [row for row in rows if column.figure in row]
        ours = own.get(column.figure)
        if ours is None:
            lines.append(f"- {column.title}: this platform has no figure.")
            continue
        sign = -1 if column.more_is_better else 1
        better = sorted(
            (row for row in comparable if sign * row[column.figure] < sign * ours),
            key=lambda row: sign * row[column.figure],
        )
        if better:
            named = ", ".join(f"{row['name']} {column.form(row[column.figure])}" for row in better)
            lines.append(f"- {column.title}: {column.form(ours)} here; better: {named}.")
    return (
        ["Where this platform loses:", *lines] if lines else ["This platform has the best of every column."]
    )
