"""Keep every record in SQLite, and in memory for reading.

One table holds all kinds, so SQLite's own counter gives definitions and runs ids that never coincide.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, TypeVar

from yeedu_mock.state.records import (
    Cluster,
    ClusterConf,
    Group,
    JobDefinition,
    NotebookDefinition,
    Record,
    Run,
    Session,
    Tenant,
    User,
    Workspace,
    WorkspaceAccess,
    WorkspaceCluster,
    WorkspaceFile,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RecordType = TypeVar("RecordType", bound=Record)

KINDS: dict[str, type[Record]] = {
    record.kind: record
    for record in (
        *(Tenant, User, Group, Session),
        *(Workspace, WorkspaceAccess, WorkspaceCluster, WorkspaceFile),
        *(ClusterConf, Cluster),
        *(JobDefinition, NotebookDefinition, Run),
    )
}

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
)
"""


class Store:
    """All records of one mock; used from one thread, the server's event loop.

    Args:
        path: The database file; created when absent.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(SCHEMA)
        self._records: dict[int, Record] = {}
        for identifier, kind, body in self._database.execute(
            "SELECT id, kind, body FROM records ORDER BY id"
        ):
            record = KINDS[kind].model_validate_json(body)
            record.id = identifier
            self._records[identifier] = record

    def add(self, record: RecordType) -> RecordType:
        """Keep a new record and give it an id, unless it carries a fixed one already."""
        cursor = self._database.execute(
            "INSERT INTO records (id, kind, body) VALUES (?, ?, ?)",
            (record.id or None, record.kind, record.model_dump_json()),
        )
        record.id = cursor.lastrowid or 0
        self._records[record.id] = record
        return record

    def save(self, record: Record) -> None:
        """Write a changed record, or a changed copy of one."""
        record.modified_at = now()
        if record.id in self._records:
            self._records[record.id] = record
        self._database.execute(
            "UPDATE records SET body = ? WHERE id = ?", (record.model_dump_json(), record.id)
        )

    def remove(self, record: Record) -> None:
        """Forget a record."""
        self._database.execute("DELETE FROM records WHERE id = ?", (record.id,))
        self._records.pop(record.id, None)

    def get(self, kind: type[RecordType], identifier: int) -> RecordType | None:
        """Return the record of this kind and id, or None."""
        record = self._records.get(identifier)
        return record if isinstance(record, kind) else None

    def all(self, kind: type[RecordType]) -> Iterable[RecordType]:
        """Return the records of a kind, oldest first."""
        return [record for record in self._records.values() if isinstance(record, kind)]

    def reserve_ids(self, first_free: int) -> None:
        """Give the next record the id `first_free`, unless ids have got further already."""
        self._database.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'records'", (first_free - 1,)
        )

    def clear(self) -> None:
        """Forget everything."""
        self._database.execute("DELETE FROM records")
        self._records.clear()

    def close(self) -> None:
        """Close the database file."""
        self._database.close()
