"""Tells what was done: a table on a terminal, plain lines otherwise, and one sentence per failure."""

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

MAXIMUM_COLUMNS = 1000
HIDDEN = "********"
# A shorter secret is as likely to be an ordinary word, which would make the report unreadable.
MINIMUM_HIDDEN_CHARACTERS = 6


class Outcome(StrEnum):
    """What became of one object."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    KEPT = "kept"
    STARTED = "started"
    FAILED = "failed"
    TO_CREATE = "create"
    TO_CHANGE = "change"


STYLES = {
    Outcome.CREATED: "green",
    Outcome.STARTED: "green",
    Outcome.TO_CREATE: "green",
    Outcome.CHANGED: "yellow",
    Outcome.TO_CHANGE: "yellow",
    Outcome.FAILED: "bold red",
}


@dataclass(frozen=True)
class Row:
    """One object and what became of it."""

    kind: str
    name: str
    outcome: Outcome
    detail: str = ""
    link: str = ""


@dataclass
class Report:
    """Everything that one run of the deployer did.

    Attributes:
        secrets: Values that never appear in what is printed, whatever a message holds.
        rows: One per object, in the order in which they were dealt with.
        failures: One sentence per failure.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    rows: list[Row] = field(default_factory=list[Row])
    failures: list[str] = field(default_factory=list[str])

    def add(self, kind: str, name: str, outcome: Outcome, detail: str = "", link: str = "") -> None:
        """Note what became of one object."""
        self.rows.append(Row(kind, name, outcome, detail, link))

    def fail(self, kind: str, name: str, error: Exception) -> None:
        """Note a failure; one sentence that several objects share is told once."""
        self.add(kind, name, Outcome.FAILED)
        if str(error) not in self.failures:
            self.failures.append(str(error))

    @property
    def changes_planned(self) -> bool:
        """Whether a plan found something to do."""
        return any(row.outcome in (Outcome.TO_CREATE, Outcome.TO_CHANGE) for row in self.rows)

    def print(self) -> None:
        """Print the rows to standard output and the failures to standard error."""
        stream = sys.stdout
        if stream.isatty():
            self._print_table(stream)
        else:
            self._print_lines(stream)
        for failure in self.failures:
            print(f"error: {redact(failure, self.secrets)}", file=sys.stderr)

    def _print_table(self, stream: TextIO) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("", "name", "outcome", "", "link"):
            table.add_column(column, no_wrap=True)
        for row in self.rows:
            cells = [
                redact(cell, self.secrets) for cell in (row.kind, row.name, row.outcome, row.detail, row.link)
            ]
            styles = ("", "", STYLES.get(row.outcome, "dim"), "", "dim")
            table.add_row(
                *(Text(redact(cell, self.secrets), style) for cell, style in zip(cells, styles, strict=True))
            )
        console = Console(file=stream)
        # As wide as it needs to be: a link that a terminal wraps can be clicked, one cut by a cell cannot.
        unlimited = console.options.update(max_width=MAXIMUM_COLUMNS)
        console.width = Measurement.get(console, unlimited, table).maximum
        console.print(table)

    def _print_lines(self, stream: TextIO) -> None:
        for row in self.rows:
            cells = [f"{row.kind}: {row.name}: {row.outcome}", row.detail, row.link]
            line = redact("  ".join(cell for cell in cells if cell), self.secrets)
            print(line, file=stream)


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Replace every secret in a text; longer ones first, so that none is left in part."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MINIMUM_HIDDEN_CHARACTERS:
            text = text.replace(secret, HIDDEN)
    return text
