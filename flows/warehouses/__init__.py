"""Warehouses of several kinds with one ability: replace the rows of a table that belong together."""

from warehouses.tables import Column, Kind, Replaced, Table, Warehouse
from warehouses.which import find_warehouse

__all__ = ["Column", "Kind", "Replaced", "Table", "Warehouse", "find_warehouse"]
