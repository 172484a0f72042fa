"""The interface of every warehouse, and its description of tables."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol, TextIO

from warehouse import WarehouseError

Key = tuple[str | int, ...]
Row = Sequence[str]


class Kind(Enum):
    """What a column holds; each warehouse has a type for it."""

    TEXT = auto()
    SMALL_INTEGER = auto()
    AMOUNT = auto()  # nine digits, two of them after the decimal point
    TIME = auto()  # without a time zone


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind
    is_required: bool = True


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: Its name.
        key: Its first columns: rows that are equal in these are replaced together.
        others: The columns after them.
    """

    name: str
    key: tuple[Column, ...]
    others: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in the order of a row's fields."""
        return (*self.key, *self.others)

    @property
    def index(self) -> str:
        """The name of the index on its key."""
        return f"{self.name}_{self.key[-1].name}"


class Replaced(NamedTuple):
    """What a replacement did: the number of the key's rows after it, and before it."""

    rows: int
    before: int


class Warehouse(Protocol):
    """A database that rows can be loaded into."""

    def replace(self, table: Table, key: Key, rows: Iterable[Row]) -> Replaced:
        """Replace the rows of a key by others, all or none, and count them.

        The table is created if it does not exist. Readers see either the old rows or the new ones.

        Args:
            table: The table.
            key: The values of its key.
            rows: The fields of each row as text, including the key's; an empty one is NULL.

        Raises:
            WarehouseError: The warehouse cannot be used, refused a row, or lost some; nothing was changed.
        """
        ...


class RowsLostError(WarehouseError):
    """Not every row arrived, and nothing was changed; the message says how many did."""


def require_all(given: int, *arrived: int) -> None:
    """Check that as many rows arrived as were given.

    Raises:
        RowsLostError: The numbers differ.
    """
    if any(count != given for count in arrived):
        counts = " and then ".join(map(str, arrived))
        raise RowsLostError(f"Of {given} rows, {counts} arrived in the warehouse; nothing was changed.")


def write_csv(file: TextIO, rows: Iterable[Row]) -> int:
    """Write rows as lines of CSV; return their number."""
    writer = csv.writer(file, lineterminator="\n")
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the last one counts
        writer.writerow(row)
    return count
