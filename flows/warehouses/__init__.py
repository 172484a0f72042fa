"""Warehouses of several kinds, all of which can replace the rows of one key in a table."""

from warehouses.tables import Column, Kind, Replaced, Table, Warehouse
from warehouses.which import find_warehouse

__all__ = ["Column", "Kind", "Replaced", "Table", "Warehouse", "find_warehouse"]
