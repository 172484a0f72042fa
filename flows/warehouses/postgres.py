"""Loads into Postgres, by a Secret block: COPY in one transaction, one load of a table at a time."""

import tempfile
from collections.abc import Iterable
from typing import cast

from psycopg2 import sql
from psycopg2.extensions import cursor

from warehouse import copy_rows, lock, open_warehouse
from warehouses.tables import Column, Key, Kind, Replaced, Row, Table, require_all, write_csv

TYPES = {
    Kind.TEXT: "text",
    Kind.SMALL_INTEGER: "smallint",
    Kind.AMOUNT: "numeric(9, 2)",
    Kind.TIME: "timestamp",
}


class PostgresWarehouse:
    """A Postgres that a Secret block opens.

    Args:
        block_name: The block's name; see `open_warehouse`.
    """

    def __init__(self, block_name: str) -> None:
        self._block_name = block_name

    def replace(self, table: Table, key: Key, rows: Iterable[Row]) -> Replaced:
        """Replace the rows of a key by others; see `Warehouse`."""
        name = sql.Identifier(table.name)
        of_key = sql.SQL(" AND ").join(
            sql.SQL("{} = %s").format(sql.Identifier(column.name)) for column in table.key
        )
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
            given = write_csv(file, rows)
            file.seek(0)
            with open_warehouse(self._block_name) as warehouse, warehouse.cursor() as cursor:
                lock(cursor, table.name)
                _create(cursor, table)
                cursor.execute(sql.SQL("DELETE FROM {} WHERE {}").format(name, of_key), key)
                before = cursor.rowcount
                copied = copy_rows(cursor, table.name, tuple(c.name for c in table.columns), file)
                cursor.execute(sql.SQL("SELECT count(*) FROM {} WHERE {}").format(name, of_key), key)
                counted = cast("tuple[int]", cursor.fetchone())[0]
                require_all(given, copied, counted)
        return Replaced(counted, before)


def _create(of: cursor, table: Table) -> None:
    """Create the table and its index, unless they exist."""

    def definition(column: Column) -> sql.Composable:
        null = "NOT NULL" if column.is_required else "NULL"
        return sql.SQL("{} {} {}").format(
            sql.Identifier(column.name), sql.SQL(TYPES[column.kind]), sql.SQL(null)
        )

    of.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
            sql.Identifier(table.name), sql.SQL(", ").join(map(definition, table.columns))
        )
    )
    of.execute(
        sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
            sql.Identifier(table.index),
            sql.Identifier(table.name),
            sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key),
        )
    )
