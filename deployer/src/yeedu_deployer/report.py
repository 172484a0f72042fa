"""Reports what was done or found: as a table on a terminal, as plain lines otherwise, or as JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from yeedu_deployer.errors import redact, shown
from yeedu_deployer.planned.plan import DONE, FieldChange, Outcome

JSON_FORMAT = 1
MAXIMUM_COLUMNS = 1000
# A parameter schema has thousands of characters; the JSON form holds all of them.
MAXIMUM_VALUE_CHARACTERS = 60
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


@dataclass(frozen=True)
class Printed:
    """How one object is shown: as one line or as cells of a table, and the lines below it."""

    line: str
    cells: tuple[str, ...]
    style: str
    below: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """One object and its outcome."""

    kind: str
    name: str
    outcome: Outcome
    detail: str = ""
    link: str = ""
    changes: tuple[FieldChange, ...] = ()

    @property
    def printed(self) -> Printed:
        """How it is shown."""
        whole = (f"{self.kind}: {self.name}: {self.outcome}", self.detail, self.link)
        return Printed(
            "  ".join(filter(None, whole)),
            (self.kind, self.name, self.outcome, self.detail, self.link),
            STYLES.get(self.outcome, "dim"),
            [f"{change.field}: {brief(change.old)} -> {brief(change.new)}" for change in self.changes],
        )


@dataclass
class Report:
    """Everything that one run of the deployer did: its rows in order, and a sentence per failure.

    The values in `secrets` are never printed, whatever a message holds.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    rows: list[Row] = field(default_factory=list[Row])
    failures: list[str] = field(default_factory=list[str])

    def hide(self, secrets: Iterable[str]) -> None:
        """Add values that must not be printed, whatever a message holds."""
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
        """Record one object's outcome, with the fields that were changed."""
        self.rows.append(Row(kind, name, outcome, detail, link, changes))

    def fail(self, kind: str, name: str, error: Exception) -> None:
        """Record a failure; a sentence that several objects share is reported once."""
        self.add(kind, name, Outcome.FAILED)
        self.failures += [line for line in str(error).splitlines() if line not in self.failures]

    @property
    def changes_planned(self) -> bool:
        """Whether a plan found something to do."""
        return any(row.outcome in DONE for row in self.rows)

    def print(self, *, json_of: str = "") -> None:
        """Print the rows, or the JSON document of a command, and the failures to standard error."""
        if json_of:
            is_changed = any(row.outcome in (*DONE, *DONE.values()) for row in self.rows)
            self.print_document(json_of, {"changes": is_changed, "objects": self.rows})
        else:
            headings = ("", "name", "outcome", "", "link")
            self.print_rows([row.printed for row in self.rows], headings, below=3)

    def print_document(self, command: str, content: dict[str, object]) -> None:
        """Print a JSON document, whose shape is in deployer/README.md, and the failures."""
        document = {"format": JSON_FORMAT, "command": command, **content, "errors": self.failures}
        plain = to_jsonable_python(document, fallback=str)
        print(json.dumps(_redacted(plain, self.secrets), indent=2))
        self._print_failures()

    def print_rows(self, rows: Sequence[Printed], headings: Sequence[str], *, below: int) -> None:
        """Print a table, or plain lines, and the failures.

        `below` is the column of a row's further lines; the one before it has the row's style.
        """
        if sys.stdout.isatty():
            _print_table(rows, headings, below, self.secrets)
        else:
            for row in rows:
                print("\n    ".join(shown(line, self.secrets) for line in (row.line, *row.below)))
        self._print_failures()

    def _print_failures(self) -> None:
        for failure in self.failures:
            print(f"error: {shown(failure, self.secrets)}", file=sys.stderr)


def _print_table(
    rows: Sequence[Printed], headings: Sequence[str], below: int, secrets: tuple[str, ...]
) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        cells = [Text(shown(cell, secrets)) for cell in row.cells]
        cells[below - 1].stylize(row.style)
        cells[-1].stylize("dim")
        table.add_row(*cells)
        for line in row.below:
            table.add_row(*[""] * below, Text(shown(line, secrets), "dim"))
    console = Console()
    # As wide as needed: a link that the terminal wraps can be clicked, one cut off by a cell cannot.
    unlimited = console.options.update(max_width=MAXIMUM_COLUMNS)
    console.width = Measurement.get(console, unlimited, table).maximum
    console.print(table)


def _redacted(value: JsonValue, secrets: tuple[str, ...]) -> JsonValue:
    """Copy a JSON value with every secret in its texts replaced."""
    if isinstance(value, dict):
        return {redact(name, secrets): _redacted(one, secrets) for name, one in value.items()}
    if isinstance(value, list):
        return [_redacted(one, secrets) for one in value]
    return redact(value, secrets) if isinstance(value, str) else value


def brief(value: object) -> str:
    """Return a value on one line, cut off if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAXIMUM_VALUE_CHARACTERS else f"{text[:MAXIMUM_VALUE_CHARACTERS]}…"
