"""The copy of the database for the rollback, and what is on disk of an upgrade, however it was cut off."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local.errors import CommandError
from local.upgrade import journal as journals
from local.upgrade.copies import SqliteCopy
from local.upgrade.journal import Journal, Phase


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A database with a row, in SQLite's way that Prefect uses, and with that row in its log alone."""
    file = tmp_path / "of team #1?" / "prefect.db"  # which an address has other uses for
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE flow_run (id INTEGER, state_type TEXT, work_queue_name TEXT)")
        for limits in ("concurrency_limit", "concurrency_limit_v2"):
            connection.execute(f"CREATE TABLE {limits} (active_slots)")
        connection.execute("INSERT INTO alembic_version VALUES ('one')")
        connection.execute("INSERT INTO flow_run VALUES (1, 'COMPLETED', 'default')")
        connection.commit()
        yield file


def run(file: Path, *statements: str) -> list[tuple[int, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        return connection.execute("SELECT id FROM flow_run").fetchall()


MIGRATIONS = [
    ["ALTER TABLE flow_run ADD COLUMN name TEXT"],  # half of one
    ["UPDATE alembic_version SET version_num = 'two'"],  # one that changes data alone
]


@pytest.mark.parametrize("migration", MIGRATIONS)
def test_changed_tables_are_noticed_and_undone(file: Path, migration: list[str]) -> None:
    copy = SqliteCopy(file)
    assert not copy.exists()
    copy.make()
    assert copy.exists()
    assert not copy.differs()
    assert run(file, "INSERT INTO flow_run (id) VALUES (2)") == [(1,), (2,)]
    assert not copy.differs()  # flow runs alone are no reason to go back to older ones
    run(file, *migration)
    assert copy.differs()
    copy.put_back()
    assert run(file) == [(1,)]
    assert not copy.exists()
    copy.discard()
    assert {one.name for one in file.parent.iterdir()} <= {"prefect.db", "prefect.db-wal", "prefect.db-shm"}


def test_a_way_back_that_is_cut_off_is_begun_again(file: Path) -> None:
    copy = SqliteCopy(file)
    copy.make()
    run(file, *MIGRATIONS[0])
    file.replace(file.with_name("prefect_after_upgrade.db"))  # where a kill may leave it
    assert (copy.exists(), copy.differs()) == (True, True)
    copy.put_back()
    copy.discard()
    assert run(file) == [(1,)]


def test_runs_that_ended_meanwhile_are_counted_without_the_smoke_run(file: Path) -> None:
    copy = SqliteCopy(file)
    run(file, "INSERT INTO flow_run VALUES (2, 'RUNNING', 'default')")
    copy.make()
    assert copy.ended_since("smoke") == 0
    run(
        file,
        "INSERT INTO flow_run VALUES (3, 'COMPLETED', 'smoke')",
        "INSERT INTO flow_run VALUES (4, 'CANCELLED', 'default')",  # by the worker that has caught up
    )
    assert copy.ended_since("smoke") == 0
    run(
        file,
        "UPDATE flow_run SET state_type = 'FAILED' WHERE id = 2",
        "INSERT INTO flow_run VALUES (5, 'COMPLETED', NULL)",
    )
    assert copy.ended_since("smoke") == 2
    run(file, "ALTER TABLE flow_run RENAME COLUMN state_type TO half_done")
    assert copy.ended_since("smoke") == 0


def test_half_of_a_copy_goes_too(file: Path) -> None:
    copy = SqliteCopy(file)
    names = ("before_upgrade.new", "before_upgrade.new-journal", "before_upgrade.db-wal", "after_upgrade.db")
    left = [file.with_name(f"prefect_{name}") for name in names]
    for one in left:
        one.write_bytes(b"half")
    assert not copy.exists()
    copy.discard()
    assert not any(one.exists() for one in left)


def test_a_copy_without_room_leaves_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = SqliteCopy(file)

    def dump(target: Path) -> None:
        target.write_bytes(b"half")
        raise CommandError("disk full")

    monkeypatch.setattr(copy, "dump", dump)
    with pytest.raises(CommandError, match="disk full"):
        copy.make()
    assert not copy.exists()
    assert not list(file.parent.glob("*.new"))


def test_the_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert journals.read(tmp_path) is None
    journal = Journal(
        form="containers",
        old="0.1.0",
        new="0.2.0",
        old_commit="a",
        new_commit="b",
        backup="backups/x.tar",
        queues=("q1", "q2"),
        bundle="/media/bundle",
        had_bundle=False,
        profiles=("image-worker",),
        has_files=False,
        has_begun=True,
        phase=Phase.SWITCHING,
    )
    journals.write(journal, tmp_path)
    found = journals.read(tmp_path)
    assert found
    assert found == journal
    assert found.phase is Phase.SWITCHING
    journals.forget(tmp_path)
    assert journals.read(tmp_path) is None


def test_the_journal_is_on_the_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        assert (tmp_path / "journal.json").exists() == (synced[-1] == "folder")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    journals.write(Journal("containers", "0.1.0", "0.2.0", "a"), tmp_path)
    assert synced == ["file", "folder"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"phase": "elsewhere"}', '{"phase": "switching", "queues": []}']
)
def test_a_journal_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.json").write_text(text)
    with pytest.raises(CommandError, match=r"journal\.json cannot be read"):
        journals.read(tmp_path)


def test_one_of_a_later_release_is_read_without_what_it_added(tmp_path: Path) -> None:
    journals.write(Journal("containers", "0.1.0", "0.2.0", "a"), tmp_path)
    file = tmp_path / "journal.json"
    file.write_text(file.read_text().replace("{", '{"later": 1,', 1))
    found = journals.read(tmp_path)
    assert found is not None
    assert found.phase is Phase.PREPARING
