"""Keeps every record in SQLite, and in memory for reading.

One table contains all kinds, so SQLite's own counter gives definitions and runs ids that never coincide,
unless a switch asks for that.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, TypeVar, cast

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

    from yeedu_mock.control.switches import Switches

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
        path: The database file; created if missing.
        switches: Say whether jobs and notebooks share ids.
    """

    def __init__(self, path: Path, switches: Switches | None = None) -> None:
        self._switches = switches
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(SCHEMA)
        self._records: dict[str, dict[int, Record]] = {kind: {} for kind in KINDS}
        for identifier, kind, body in self._database.execute(
            "SELECT id, kind, body FROM records ORDER BY id"
        ):
            record = KINDS[kind].model_validate_json(body)
            record.key = identifier
            record.id = record.id or identifier
            self._records[kind][identifier] = record

    def add(self, record: RecordType) -> RecordType:
        """Store a new record and give it an id, unless it already has a fixed one."""
        twin = 0 if record.id else self._id_of_a_twin(record)
        cursor = self._database.execute(
            "INSERT INTO records (id, kind, body) VALUES (?, ?, ?)",
            (record.id or None, record.kind, record.model_dump_json()),
        )
        record.key = cursor.lastrowid or 0
        record.id = twin or record.key
        self._records[record.kind][record.key] = record
        self._write(record)
        return record

    def save(self, record: Record) -> None:
        """Store a changed record, or a changed copy of one."""
        record.modified_at = now()
        if record.key in self._records[record.kind]:
            self._records[record.kind][record.key] = record
        self._write(record)

    def remove(self, record: Record) -> None:
        """Forget a record."""
        self._database.execute("DELETE FROM records WHERE id = ?", (record.key,))
        self._records[record.kind].pop(record.key, None)

    def get(self, kind: type[RecordType], identifier: int) -> RecordType | None:
        """Return the record with this kind and id, or None."""
        records = self._of(kind)
        record = records.get(identifier)
        if record is not None and record.id == identifier:
            return record
        return next((record for record in records.values() if record.id == identifier), None)

    def all(self, kind: type[RecordType]) -> Iterable[RecordType]:
        """Return the records of a kind, oldest first."""
        return [*self._of(kind).values()]

    def reserve_ids(self, first_free: int) -> None:
        """Give the next record at least the id `first_free`."""
        self._database.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'records'", (first_free - 1,)
        )

    def clear(self) -> None:
        """Forget everything."""
        self._database.execute("DELETE FROM records")
        for records in self._records.values():
            records.clear()

    def close(self) -> None:
        """Close the database file."""
        self._database.close()

    def _of(self, kind: type[RecordType]) -> dict[int, RecordType]:
        return cast("dict[int, RecordType]", self._records[kind.kind])

    def _write(self, record: Record) -> None:
        self._database.execute(
            "UPDATE records SET body = ? WHERE id = ?", (record.model_dump_json(), record.key)
        )

    def _id_of_a_twin(self, record: Record) -> int:
        """Return the latest id of the other kind, job or notebook (or run of one), without a twin; else 0."""
        if self._switches is None or not self._switches.coinciding_ids:
            return 0
        match record:
            case JobDefinition():
                own, others = self.all(JobDefinition), self.all(NotebookDefinition)
            case NotebookDefinition():
                own, others = self.all(NotebookDefinition), self.all(JobDefinition)
            case Run():
                own = [run for run in self.all(Run) if run.type == record.type]
                others = [run for run in self.all(Run) if run.type != record.type]
            case _:
                return 0
        return max({other.id for other in others} - {one.id for one in own}, default=0)
