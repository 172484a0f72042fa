"""Tells what was done: a table on a terminal, plain lines otherwise, or JSON; one sentence per failure."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TextIO

from pydantic import JsonValue
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from yeedu_deployer.planned.diff import FieldChange
from yeedu_worker.printable import printable

JSON_FORMAT = 1
MAXIMUM_COLUMNS = 1000
# A parameter schema has thousands of characters; the JSON form holds all of them.
MAXIMUM_VALUE_CHARACTERS = 60
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
    PRUNED = "pruned"
    SKIPPED = "skipped"
    TO_CREATE = "create"
    TO_CHANGE = "change"
    TO_PRUNE = "prune"
    TO_SKIP = "skip"


STYLES = {
    Outcome.CREATED: "green",
    Outcome.STARTED: "green",
    Outcome.TO_CREATE: "green",
    Outcome.CHANGED: "yellow",
    Outcome.TO_CHANGE: "yellow",
    Outcome.PRUNED: "red",
    Outcome.TO_PRUNE: "red",
    Outcome.FAILED: "bold red",
}


PLANNED = (Outcome.TO_CREATE, Outcome.TO_CHANGE, Outcome.TO_PRUNE)
DONE = (Outcome.CREATED, Outcome.CHANGED, Outcome.PRUNED)


@dataclass(frozen=True)
class Row:
    """One object and what became of it."""

    kind: str
    name: str
    outcome: Outcome
    detail: str = ""
    link: str = ""
    changes: tuple[FieldChange, ...] = ()


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

    def hide(self, secrets: Iterable[str]) -> None:
        """Show these values no more, whatever a message holds."""
        self.secrets = (*self.secrets, *secrets)

    def add(
        self,
        kind: str,
        name: str,
        outcome: Outcome,
        detail: str = "",
        link: str = "",
        changes: tuple[FieldChange, ...] = (),
    ) -> None:
        """Note what became of one object, and of its fields when some were changed."""
        self.rows.append(Row(kind, name, outcome, detail, link, changes))

    def fail(self, kind: str, name: str, error: Exception) -> None:
        """Note a failure; one sentence that several objects share is told once."""
        self.add(kind, name, Outcome.FAILED)
        self.failures += [line for line in str(error).splitlines() if line not in self.failures]

    @property
    def changes_planned(self) -> bool:
        """Whether a plan found something to do."""
        return any(row.outcome in PLANNED for row in self.rows)

    def as_json(self, command: str) -> JsonValue:
        """Form the document that `--json` prints; its shape is in deployer/README.md."""
        document = {
            "format": JSON_FORMAT,
            "command": command,
            "changes": any(row.outcome in PLANNED + DONE for row in self.rows),
            "objects": [
                {
                    "kind": row.kind,
                    "name": row.name,
                    "outcome": row.outcome,
                    "detail": row.detail,
                    "link": row.link,
                    "changes": [
                        {"field": change.field, "old": change.old, "new": change.new}
                        for change in row.changes
                    ],
                }
                for row in self.rows
            ],
            "errors": self.failures,
        }
        return redacted(json.loads(json.dumps(document, default=str)), self.secrets)

    def print(self, *, json_of: str = "") -> None:
        """Print the rows to standard output and the failures to standard error.

        Args:
            json_of: The command whose JSON document is to be printed instead of rows; empty for rows.
        """
        stream = sys.stdout
        if json_of:
            print(json.dumps(self.as_json(json_of), indent=2), file=stream)
        elif stream.isatty():
            self._print_table(stream)
        else:
            self._print_lines(stream)
        for failure in self.failures:
            print(f"error: {shown(failure, self.secrets)}", file=sys.stderr)

    def _print_table(self, stream: TextIO) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("", "name", "outcome", "", "link"):
            table.add_column(column, no_wrap=True)
        for row in self.rows:
            cells = (row.kind, row.name, row.outcome, row.detail, row.link)
            styles = ("", "", STYLES.get(row.outcome, "dim"), "", "dim")
            table.add_row(
                *(Text(shown(cell, self.secrets), style) for cell, style in zip(cells, styles, strict=True))
            )
            for line in self._change_lines(row):
                table.add_row("", "", "", Text(line, "dim"), "")
        console = Console(file=stream)
        # As wide as it needs to be: a link that a terminal wraps can be clicked, one cut by a cell cannot.
        unlimited = console.options.update(max_width=MAXIMUM_COLUMNS)
        console.width = Measurement.get(console, unlimited, table).maximum
        console.print(table)

    def _print_lines(self, stream: TextIO) -> None:
        for row in self.rows:
            cells = [f"{row.kind}: {row.name}: {row.outcome}", row.detail, row.link]
            line = shown("  ".join(cell for cell in cells if cell), self.secrets)
            print(line, file=stream)
            for change in self._change_lines(row):
                print(f"    {change}", file=stream)

    def _change_lines(self, row: Row) -> list[str]:
        return [
            shown(f"{change.field}: {brief(change.old)} -> {brief(change.new)}", self.secrets)
            for change in row.changes
        ]


def shown(line: str, secrets: tuple[str, ...]) -> str:
    """Return a line as people get to see it: without secrets and without what a terminal obeys."""
    return printable(redact(line, secrets))


def redacted(value: JsonValue, secrets: tuple[str, ...]) -> JsonValue:
    """Copy a JSON value with every secret in its texts replaced."""
    if isinstance(value, dict):
        return {redact(name, secrets): redacted(one, secrets) for name, one in value.items()}
    if isinstance(value, list):
        return [redacted(one, secrets) for one in value]
    return redact(value, secrets) if isinstance(value, str) else value


def brief(value: object) -> str:
    """Show a value on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAXIMUM_VALUE_CHARACTERS else f"{text[:MAXIMUM_VALUE_CHARACTERS]}…"


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Replace every secret in a text; longer ones first, so that none is left in part."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MINIMUM_HIDDEN_CHARACTERS:
            text = text.replace(secret, HIDDEN)
    return text
