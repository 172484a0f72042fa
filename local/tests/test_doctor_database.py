"""Whether `make doctor` tells a database that is damaged from one that it cannot look at now."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from local.doctor import database
from local.tests.patients import assert_told, checkout, findings, notes, patient, wrongs


def database_in(root: Path) -> Path:
    file = checkout(root) / ".local" / "server" / "prefect.db"
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE x (y)")
    return file


@pytest.mark.parametrize("name", ["plain", "a # b", "a?b", "100 %", "%23"])
def test_database_in_a_folder_of_any_name_is_read(tmp_path: Path, name: str) -> None:
    database_in(tmp_path / name)
    [found] = findings(patient(tmp_path / name, {}, is_process_form=True), "database")
    assert (found.level, "the database has" in found.text) == ("ok", True), found


def test_database_that_is_locked_is_worth_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    site = patient(tmp_path, {}, is_process_form=True)
    with closing(sqlite3.connect(database_in(tmp_path))) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert wrongs(site, "database") == wrongs(site, "retention") == []
        assert_told(notes(site, "database"), "locked", "check again")


def test_database_that_cannot_be_opened_is_worth_a_note(tmp_path: Path) -> None:
    file = database_in(tmp_path)
    file.unlink()
    file.mkdir()
    assert_told(notes(patient(tmp_path, {}, is_process_form=True), "database"), "was not checked", "the user")


def test_database_whose_pages_are_damaged_is_wrong(tmp_path: Path) -> None:
    file = database_in(tmp_path)
    file.write_bytes(file.read_bytes()[:100] + b"x" * 9000)
    assert_told(
        wrongs(patient(tmp_path, {}, is_process_form=True), "database"), "cannot be read", "make restore"
    )
