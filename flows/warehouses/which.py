"""Finds the warehouse that a parameter names, by the type of its block."""

from blocks import BlockError, load_block
from warehouse import WarehouseError
from warehouses.big_query import BigQueryWarehouse
from warehouses.postgres import PostgresWarehouse
from warehouses.sql_database import SqlDatabase
from warehouses.tables import Warehouse

KINDS = (
    "'secret/NAME' for Postgres, 'gcp-credentials/NAME/DATASET' for BigQuery, or 'sqlalchemy-connector/NAME'"
)


def find_warehouse(block: str) -> Warehouse:
    """Return the warehouse that a block opens.

    Args:
        block: The block's type and name. `secret/NAME`: a Postgres, see `open_warehouse`.
            `gcp-credentials/NAME/DATASET`: a data set of the credentials' project in BigQuery.
            `sqlalchemy-connector/NAME`: any other database.

    Raises:
        WarehouseError: The block has another type, does not exist, or cannot be read.
        MissingPackageError: The block's package is not installed on this worker.
    """
    kind, _, name = block.replace("_", "-").partition("/")
    if kind == "secret" and name:
        return PostgresWarehouse(name)
    try:
        if kind == "gcp-credentials":
            # The data set as given: its name may have underscores, but no dashes.
            name, dataset = [*block.split("/"), "", ""][1:3]
            if name and dataset:
                return BigQueryWarehouse(load_block(f"{kind}/{name}", KINDS), dataset)
        if kind == "sqlalchemy-connector" and name:
            return SqlDatabase(load_block(block, KINDS))
    except BlockError as error:
        raise WarehouseError(str(error)) from None
    raise WarehouseError(f"{block!r} names no warehouse; give {KINDS}.")
