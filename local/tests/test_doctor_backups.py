"""Whether `make doctor` sees that no backup is to be relied on: archives are as `make backup` writes them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.backup.archive import DATABASE, KEY, write_archive
from local.backup.backups import prefect_version
from local.doctor import backups
from local.settings.platform import ROOT
from local.tests.patients import assert_told, checkout, container, findings, notes, patient, wrongs

NAMES = ("backup-age", "backup-file", "backup-permissions")


def backup(root: Path, age: timedelta, form: str = "yeedu-prefect", prefect: str = "") -> Path:
    made = datetime.now(UTC) - age
    parts = root / f"parts-{form}-{made:%Y%m%dT%H%M%S}"
    parts.mkdir()
    (parts / DATABASE).write_bytes(b"x" * 100_000)
    (parts / KEY).write_text("key")
    target = root / "backups" / f"{form}-{made:%Y%m%dT%H%M%SZ}.tar"
    write_archive(target, parts, "sqlite", prefect or prefect_version(ROOT), made.isoformat())
    return target


def test_good_backup_of_today_has_nothing_wrong(tmp_path: Path) -> None:
    backup(checkout(tmp_path), timedelta(hours=3))
    site = patient(tmp_path, {})
    assert [[one.level for one in findings(site, name)] for name in NAMES] == [["ok"]] * 3


def test_no_backup_and_an_old_one_are_worth_a_note(tmp_path: Path) -> None:
    site = patient(checkout(tmp_path), {})
    assert_told(notes(site, "backup-age"), "there is no backup", "`make backup`")
    backup(tmp_path, timedelta(days=9))
    assert_told(notes(site, "backup-age"), "9 d old")


def test_scheduled_backup_that_is_overdue_is_wrong(tmp_path: Path) -> None:
    values = {"COMPOSE_PROFILES": "backup", "BACKUP_EVERY_SECONDS": "3600"}
    site = patient(checkout(tmp_path), values, items=[container("backup")])
    assert_told(wrongs(site, "backup-age"), "no backup", "logs backup")
    backup(tmp_path, timedelta(hours=3), "scheduled")
    assert_told(wrongs(site, "backup-age"), "3 h old", "every 60 min")


def test_backup_that_is_damaged_or_cut_short_is_wrong(tmp_path: Path) -> None:
    file = backup(checkout(tmp_path), timedelta(hours=1))
    site = patient(tmp_path, {})
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert_told(wrongs(site, "backup-file"), "truncated", "`make backup`")
    file.write_bytes(whole.replace(b"x" * 1000, b"y" * 1000, 1))
    assert_told(wrongs(site, "backup-file"), "damaged")
    file.write_bytes(b"no archive")
    assert_told(wrongs(site, "backup-file"), "not a backup of this platform")


def test_backup_of_a_newer_prefect_is_wrong(tmp_path: Path) -> None:
    backup(checkout(tmp_path), timedelta(hours=1), prefect="99.1.0")
    assert_told(wrongs(patient(tmp_path, {}), "backup-file"), "newer Prefect", "check out")


def test_backup_that_takes_too_long_to_read_is_said_to_be_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(checkout(tmp_path), timedelta(hours=1))
    monkeypatch.setattr(backups, "_READ_SECONDS", -1.0)
    assert_told(notes(patient(tmp_path, {}), "backup-file"), "too large to be read through")


def test_backup_that_others_may_read_is_wrong(tmp_path: Path) -> None:
    backup(checkout(tmp_path), timedelta(hours=1)).chmod(0o644)
    assert_told(wrongs(patient(tmp_path, {}), "backup-permissions"), "1 backups", "chmod 600")
