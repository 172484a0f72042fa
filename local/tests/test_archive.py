"""A backup's file: whole, or refused with what is wrong."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from local.archive import read_archive, write_archive
from local.errors import CommandError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A backup with a database of 100 kB and a key."""
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "database").write_bytes(bytes(range(256)) * 400)
    (parts / "encryption-key").write_text("the key")
    target = tmp_path / "backups" / "one.tar"
    write_archive(target, parts, "sqlite", "3.8.8", "2026-01-02T03:04:05+00:00")
    return target


def unpack(source: Path) -> Path:
    folder = source.parent / f"unpacked-{len(list(source.parent.iterdir()))}"
    folder.mkdir()
    read_archive(source, folder)
    return folder


def test_what_was_written_is_read(archive: Path) -> None:
    folder = archive.parent / "unpacked"
    folder.mkdir()
    manifest = read_archive(archive, folder)
    assert (manifest.database, manifest.prefect) == ("sqlite", "3.8.8")
    assert (folder / "database").read_bytes() == bytes(range(256)) * 400
    assert (folder / "encryption-key").read_text() == "the key"
    assert {file.name for file in folder.iterdir()} == {"database", "encryption-key"}


def test_only_its_owner_may_read_it(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600


def test_no_backup_is_overwritten(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(CommandError, match="exists already"):
        write_archive(archive, tmp_path / "parts", "sqlite", "3.8.8", "")
    assert archive.read_bytes() == before


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_archive_that_was_cut_short_is_refused(archive: Path, kept: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CommandError, match=r"cut short|no backup|damaged"):
        unpack(archive)


def test_every_changed_byte_of_its_files_is_noticed(archive: Path) -> None:
    content = archive.read_bytes()
    at = content.index(b"the key")
    archive.write_bytes(content[:at] + b"The" + content[at + 3 :])
    with pytest.raises(CommandError, match="damaged: encryption-key"):
        unpack(archive)


def test_foreign_files_are_refused(archive: Path) -> None:
    text = archive.with_name("notes.txt")
    text.write_text("PGDMP, not really")
    other = archive.with_name("other.tar")
    with tarfile.open(other, "w") as target:
        target.add(text, "notes.txt")
    for file in (text, other):
        with pytest.raises(CommandError, match="no backup of this platform"):
            unpack(file)
    with pytest.raises(CommandError, match="there is no such file"):
        unpack(archive.with_name("nowhere.tar"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"members": {"../evil": "0"}}, "outside of itself"),
        ({"odd": 1}, "damaged"),
    ],
)
def test_manifests_of_others_are_refused(archive: Path, change: dict[str, object], message: str) -> None:
    manifest: dict[str, object] = {
        "database": "sqlite",
        "prefect": "3.8.8",
        "created": "",
        "members": {},
        "format": 1,
        **change,
    }
    head = json.dumps(manifest).encode()
    with tarfile.open(archive, "w") as target:
        entry = tarfile.TarInfo("yeedu-prefect-backup.json")
        entry.size = len(head)
        target.addfile(entry, io.BytesIO(head))
    with pytest.raises(CommandError, match=message):
        unpack(archive)
