"""Loads into any database of SQLAlchemy's, by a SQLAlchemy Connector block: INSERT in one transaction."""

import contextlib
from collections.abc import Generator, Iterable, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

import sqlalchemy
from sqlalchemy import exc

from warehouse import WarehouseError, WarehouseUnreachableError
from warehouses.tables import Column, Key, Kind, Replaced, Row, Table, require_all

BATCH_ROWS = 1_000
TYPES: dict[Kind, Any] = {
    Kind.TEXT: sqlalchemy.String(255),
    Kind.SMALL_INTEGER: sqlalchemy.SmallInteger(),
    Kind.AMOUNT: sqlalchemy.Numeric(9, 2),
    Kind.TIME: sqlalchemy.DateTime(),
}
READERS = {Kind.TEXT: str, Kind.SMALL_INTEGER: int, Kind.AMOUNT: Decimal, Kind.TIME: datetime.fromisoformat}


class SqlDatabase:
    """A database that a SQLAlchemy Connector opens.

    Args:
        connector: The SQLAlchemy Connector block.
    """

    def __init__(self, connector: Any) -> None:
        self._engine: sqlalchemy.Engine = connector.get_engine()
        self._place = self._engine.url.render_as_string(hide_password=True)

    def replace(self, table: Table, key: Key, rows: Iterable[Row]) -> Replaced:
        """Replace the rows of a key by others; see `Warehouse`.

        Two simultaneous loads of one key would leave the rows of both, so the transaction is SERIALIZABLE if
        the database has that level: one of the two is then refused, and may retry.
        """
        target = _as_sqlalchemy(table)
        of_key = sqlalchemy.and_(
            *(target.c[column.name] == value for column, value in zip(table.key, key, strict=True))
        )
        given = 0
        with self._errors(), self._connected() as connection:
            self._create(target)
            self._isolate(connection)
            with connection.begin():
                before = connection.execute(target.delete().where(of_key)).rowcount
                for batch in _batches(table, rows):
                    given += len(batch)
                    connection.execute(target.insert(), batch)
                counting = sqlalchemy.select(sqlalchemy.func.count()).select_from(target).where(of_key)
                counted = connection.execute(counting).scalar_one()
                require_all(given, counted)
        return Replaced(counted, before)

    @contextlib.contextmanager
    def _connected(self) -> Generator[sqlalchemy.Connection, None, None]:
        """Open a connection, and leave none in the pool."""
        try:
            with self._engine.connect() as connection:
                yield connection
        finally:
            self._engine.dispose()

    def _create(self, target: sqlalchemy.Table) -> None:
        """Create the table in its own transaction, unless it exists; another load may create it meanwhile."""
        try:
            target.metadata.create_all(self._engine)
        except exc.DBAPIError:
            if not sqlalchemy.inspect(self._engine).has_table(target.name):
                raise

    def _isolate(self, connection: sqlalchemy.Connection) -> None:
        with contextlib.suppress(NotImplementedError):  # a dialect without isolation levels
            if "SERIALIZABLE" in connection.dialect.get_isolation_level_values(
                connection.connection.dbapi_connection  # type: ignore[arg-type]
            ):
                connection.execution_options(isolation_level="SERIALIZABLE")

    @contextlib.contextmanager
    def _errors(self) -> Generator[None, None, None]:
        """Turn SQLAlchemy's errors into `WarehouseError`s of one line, without statement and values."""
        try:
            yield
        except exc.DBAPIError as error:
            reason = str(error.orig).strip().partition("\n")[0].rstrip(".")
            if isinstance(error, exc.OperationalError | exc.InterfaceError):
                message = f"The database {self._place} cannot be used now: {reason}."
                raise WarehouseUnreachableError(message) from None
            raise WarehouseError(f"The database {self._place} refused: {reason}.") from None
        except exc.SQLAlchemyError as error:
            raise WarehouseError(f"The database {self._place} cannot be used: {error}") from None


def _as_sqlalchemy(table: Table) -> sqlalchemy.Table:
    columns = [
        sqlalchemy.Column(column.name, TYPES[column.kind], nullable=not column.is_required)
        for column in table.columns
    ]
    index = sqlalchemy.Index(table.index, *(column.name for column in table.key))
    return sqlalchemy.Table(table.name, sqlalchemy.MetaData(), *columns, index)


def _batches(table: Table, rows: Iterable[Row]) -> Iterator[list[dict[str, Any]]]:
    columns = table.columns
    each = iter(rows)
    while batch := list(islice(each, BATCH_ROWS)):
        yield [
            {column.name: _read(column, field) for column, field in zip(columns, row, strict=True)}
            for row in batch
        ]


def _read(column: Column, field: str) -> Any:
    if not field:
        return None
    try:
        return READERS[column.kind](field)
    except (ValueError, InvalidOperation):
        raise WarehouseError(f"{field!r} is no value for the column {column.name}.") from None
