"""Read the tables out of a piece of HTML, such as a data frame's display."""

from __future__ import annotations

from html.parser import HTMLParser

MAX_ROWS = 1000
MAX_COLUMNS = 100


class _TableParser(HTMLParser):
    """Collects the cells of every table; a table inside of another one ends up in the outer cell's text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self._depth = 0
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - given by the base class
        if tag == "table":
            self._depth += 1
            if self._depth == 1:
                self.tables.append([])
        elif self._depth == 1 and tag == "tr":
            self._end_cell()
            self.tables[-1].append([])
        elif self._depth == 1 and tag in {"td", "th"}:
            self._end_cell()
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "tr"} and self._depth == 1:
            self._end_cell()
        elif tag == "table" and self._depth:
            if self._depth == 1:
                self._end_cell()
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def _end_cell(self) -> None:
        if self._cell is None:
            return
        rows = self.tables[-1]
        if not rows:
            rows.append([])
        rows[-1].append(" ".join("".join(self._cell).split()))
        self._cell = None


def read_tables(html: str) -> list[list[dict[str, str]]]:
    """Return each table as a list of rows; the first row names the columns.

    Args:
        html: Any text; what is not a table is left out, and so are tables without rows below their head.
    """
    parser = _TableParser()
    parser.feed(html)
    parser.close()
    return [rows for table in parser.tables if (rows := _named(table))]


def _named(table: list[list[str]]) -> list[dict[str, str]]:
    filled = [row[:MAX_COLUMNS] for row in table if row]
    if len(filled) < 2:
        return []
    width = max(len(row) for row in filled)
    names: list[str] = []
    for position in range(width):
        name = (filled[0][position] if position < len(filled[0]) else "") or str(position + 1)
        names.append(name if name not in names else f"{name} ({position + 1})")
    return [dict(zip(names, [*row, *[""] * width], strict=False)) for row in filled[1 : MAX_ROWS + 1]]
