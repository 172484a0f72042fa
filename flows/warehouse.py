"""Opens the warehouse: a Postgres that flows load into, with its address and password in a Secret block."""

import contextlib
from collections.abc import Generator
from typing import Any, TextIO, cast

import psycopg2
from prefect.blocks.system import Secret
from psycopg2 import sql
from psycopg2.extensions import connection, cursor, make_dsn, parse_dsn

WAREHOUSE_BLOCK = "warehouse"
CONNECT_SECONDS = 10
COPY_BYTES = 1 << 20


class WarehouseError(RuntimeError):
    """The warehouse cannot be used, or refused what was loaded; the message says why."""


class WarehouseUnreachableError(WarehouseError):
    """No database answers, it refuses connections, or another load is in the way; a retry may help."""


@contextlib.contextmanager
def open_warehouse(block_name: str = WAREHOUSE_BLOCK) -> Generator[connection, None, None]:
    """Open a connection with one transaction: committed at the end, rolled back on an exception.

    Args:
        block_name: The Secret block with the JSON `{"url": "postgresql://USER@HOST:5432/DATABASE",
            "password": "..."}`; underscores stand for dashes.

    Raises:
        WarehouseError: There is no such block, it cannot be used, or the database refuses.
        WarehouseUnreachableError: The database does not answer, or the connection to it is lost.
    """
    dsn, place = _read_block(block_name)
    try:
        opened = psycopg2.connect(dsn, connect_timeout=CONNECT_SECONDS, application_name="prefect flow")
    except psycopg2.OperationalError as error:
        raise WarehouseUnreachableError(
            f"The warehouse at {place} cannot be opened: {_first_line(error)}."
        ) from None
    try:
        with opened:
            yield opened
    except psycopg2.Error as error:
        if opened.closed:
            message = f"The connection to the warehouse at {place} was lost: {_first_line(error)}."
            raise WarehouseUnreachableError(message) from None
        raise WarehouseError(f"The warehouse at {place} refused: {_first_line(error)}.") from error
    finally:
        opened.close()


def copy_rows(of: cursor, table: str, columns: tuple[str, ...], rows: TextIO) -> int:
    """Load rows with COPY, many times faster than INSERT.

    Args:
        of: A cursor of the warehouse's transaction.
        table: The table.
        columns: The columns of each row, in this order.
        rows: Lines of CSV without a header; an empty field is NULL.

    Returns:
        The number of rows that Postgres took.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    of.copy_expert(statement, rows, COPY_BYTES)
    return of.rowcount


def lock(of: cursor, name: str) -> None:
    """Wait until no other transaction holds the lock of this name; hold it until this one ends."""
    of.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))


def _read_block(name: str) -> tuple[str, str]:
    """Return the connection string with the password, and the database's place for messages."""
    block_name = name.replace("_", "-")
    try:
        value: Any = cast("Secret[Any]", Secret.load(block_name)).get()
    except ValueError:
        raise WarehouseError(
            f"There is no Secret block {block_name!r}, which tells where the warehouse is. "
            "Set WAREHOUSE_URL in .env and run the deployer, or create the block: docs/etl.md says how."
        ) from None
    details = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    url, password = details.get("url"), details.get("password")
    try:
        parts = parse_dsn(str(url or ""))
        place = f"{parts['host']}:{parts.get('port', '5432')}/{parts['dbname']}"
        return make_dsn(str(url), **({"password": str(password)} if password else {})), place
    except (psycopg2.ProgrammingError, KeyError):
        raise WarehouseError(  # without the value, which may hold a password
            f"The Secret block {block_name!r} does not tell where the warehouse is; it has to hold "
            '{"url": "postgresql://USER@HOST:5432/DATABASE", "password": "..."}.'
        ) from None


def _first_line(error: psycopg2.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
