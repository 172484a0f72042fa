"""A backup's file: whole, or refused with what is wrong."""

import hashlib
import io
import json
import os
import resource
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.backup.archive import read_archive, write_archive
from local.errors import CommandError

MANIFEST = "yeedu-prefect-backup.json"
DATABASE = bytes(range(256)) * 400
KEY = b"the key"
WRITTEN = {"database": DATABASE, "encryption-key": KEY}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A backup with a database of 100 kB and a key."""
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, content in WRITTEN.items():
        (parts / name).write_bytes(content)
    target = tmp_path / "backups" / "one.tar"
    write_archive(target, parts, "sqlite", "3.8.8", "2026-01-02T03:04:05+00:00")
    return target


def unpack(source: Path, parent: Path | None = None) -> Path:
    """Unpack a backup into a new folder, beside it or in another one."""
    parent = parent or source.parent
    folder = parent / f"unpacked-{len(list(parent.iterdir()))}"
    folder.mkdir()
    read_archive(source, folder)
    return folder


def forged(file: Path, change: Callable[[dict[str, Any]], object], *more: tarfile.TarInfo) -> Path:
    """Write an archive as somebody might who knows the form of it, with a changed manifest."""
    manifest = {
        "database": "sqlite",
        "prefect": "3.8.8",
        "created": "2026-01-02T03:04:05+00:00",
        "members": {name: hashlib.sha256(content).hexdigest() for name, content in WRITTEN.items()},
        "format": 1,
    }
    changed = change(manifest)
    head = changed if isinstance(changed, bytes) else json.dumps(changed or manifest).encode()
    with tarfile.open(file, "w") as target:
        for name, content in {MANIFEST: head, **WRITTEN}.items():
            if name in {entry.name for entry in more}:
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
        for entry in more:
            target.addfile(entry)
    return file


def as_it_is(manifest: dict[str, Any]) -> None:
    pass


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, to
    return entry


def test_what_was_written_is_read(archive: Path) -> None:
    folder = archive.parent / "unpacked"
    folder.mkdir()
    manifest = read_archive(archive, folder)
    assert (manifest.database, manifest.prefect) == ("sqlite", "3.8.8")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == WRITTEN


def test_what_is_forged_below_would_be_read_but_for_its_change(tmp_path: Path) -> None:
    folder = unpack(forged(tmp_path / "forged.tar", as_it_is))
    assert (folder / "encryption-key").read_bytes() == KEY


def test_only_its_owner_may_read_it(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600


def test_no_backup_is_overwritten(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(CommandError, match="exists already"):
        write_archive(archive, tmp_path / "parts", "sqlite", "3.8.8", "")
    assert archive.read_bytes() == before


def test_what_is_not_whole_never_has_a_backups_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "database").write_bytes(DATABASE)

    def interrupt(self: tarfile.TarFile, *arguments: object) -> None:
        assert [file.name[:8] for file in (tmp_path / "backups").iterdir()] == [".making-"]
        raise KeyboardInterrupt

    monkeypatch.setattr(tarfile.TarFile, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_archive(tmp_path / "backups" / "one.tar", tmp_path / "parts", "sqlite", "3.8.8", "")
    assert list((tmp_path / "backups").iterdir()) == []


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_archive_that_was_cut_short_is_refused(archive: Path, kept: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CommandError, match=r"truncated|not a backup|damaged"):
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
        with pytest.raises(CommandError, match="not a backup of this platform"):
            unpack(file)
    with pytest.raises(CommandError, match="there is no such file"):
        unpack(archive.with_name("nowhere.tar"))


def test_what_is_no_file_is_refused_and_not_waited_for(archive: Path) -> None:
    pipe = archive.with_name("pipe")
    os.mkfifo(pipe)
    for source in (pipe, archive.parent, Path(os.devnull)):
        with pytest.raises(CommandError, match="is not a file"):
            unpack(source, archive.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99"),
        ({"format": "\x1b]0;evil\x07"}, "has format no number"),
        ({"odd": 1}, "damaged: its manifest"),
        ({"created": "\x1b[2Jnow"}, "damaged: its manifest"),
        ({"prefect": "3.8.8\x1b[2J"}, "damaged: its manifest"),
        ({"prefect": 3}, "damaged: its manifest"),
        ({"database": "\x1b[2J"}, "damaged: its manifest"),
        ({"database": ["sqlite"]}, "damaged: its manifest"),
        ({"members": [["database", "0"], ["encryption-key", "0"]]}, "damaged: its manifest"),
        ({"members": {"../evil": "0" * 64}}, "damaged: its manifest"),
        ({"members": {"database": 1, "encryption-key": None}}, "damaged: its manifest"),
        ({"members": {"database": "0" * 64}}, "has no encryption-key"),
        ({"members": {"encryption-key": "0" * 64}}, "has no database"),
        ({"members": {}}, "has no database and no encryption-key"),
    ],
    ids=str,
)
def test_manifest_that_is_none_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    file = forged(tmp_path / "forged.tar", lambda manifest: {**manifest, **change})
    with pytest.raises(CommandError, match=message) as refused:
        unpack(file)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "head",
    [b"[" * 100_000, b"null", b"3", b'"x"', b"[]", b"{}", b"\xff", b"{" * 1_200_000, b'{"format": 1e999}'],
    ids=["nested", "null", "number", "text", "list", "empty", "bytes", "large", "infinite"],
)
def test_manifest_that_is_not_even_json_of_ours_is_refused(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(CommandError, match=r"damaged|not a backup|has format"):
        unpack(forged(tmp_path / "forged.tar", lambda manifest: head))


@pytest.mark.parametrize(
    "more",
    [
        [link("database", "encryption-key")],
        [link("database", "database")],
        [link("database", "encryption-key"), link("encryption-key", "database")],
        [link("database", "/etc/passwd")],
        [link("database", "encryption-key", tarfile.LNKTYPE)],
        [link("database", "", tarfile.DIRTYPE)],
        [link("database", "", tarfile.FIFOTYPE)],
        [link("database", "", tarfile.CHRTYPE)],
        [tarfile.TarInfo("evil")],
    ],
    ids=["link", "self", "loop", "outside", "hard", "folder", "pipe", "device", "more"],
)
def test_members_that_are_no_plain_files_of_the_manifest_are_refused(
    tmp_path: Path, more: list[tarfile.TarInfo]
) -> None:
    with pytest.raises(CommandError, match="holds what its manifest does not"):
        unpack(forged(tmp_path / "forged.tar", as_it_is, *more))


def test_a_member_that_comes_twice_is_refused(archive: Path) -> None:
    with tarfile.open(archive, "a") as target:
        target.addfile(tarfile.TarInfo("encryption-key"))
    with pytest.raises(CommandError, match="holds what its manifest does not"):
        unpack(archive)


def member_with_a_hole(file: Path, size: int) -> None:
    """Write a few kilobytes that stand for a member of that size, as GNU tar writes a sparse file."""
    forged(file, as_it_is)
    fields = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    fields |= {"GNU.sparse.name": "database", "GNU.sparse.realsize": str(size)}
    entry = tarfile.TarInfo("GNUSparseFile.0/database")
    entry.pax_headers = fields
    entry.size = 512
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as target:
        manifest = {
            "database": "sqlite",
            "prefect": "3.8.8",
            "created": "2026-01-02T03:04:05+00:00",
            "members": {"database": "0" * 64, "encryption-key": "0" * 64},
            "format": 1,
        }
        head = json.dumps(manifest).encode()
        first = tarfile.TarInfo(MANIFEST)
        first.size = len(head)
        target.addfile(first, io.BytesIO(head))
        target.addfile(entry, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))


def claim_of_a_header(file: Path, size: int) -> None:
    """Write an archive whose first header says that so many bytes of names and times follow."""
    entry = tarfile.TarInfo("headers")
    entry.type, entry.size = tarfile.XHDTYPE, size
    with file.open("wb") as target:
        target.write(entry.tobuf(tarfile.GNU_FORMAT))
        target.truncate(64 << 30)


@pytest.mark.parametrize("make", [member_with_a_hole, claim_of_a_header])
def test_forty_gigabytes_that_are_none_take_neither_memory_nor_disk(
    tmp_path: Path, make: Callable[[Path, int], None]
) -> None:
    file = tmp_path / "forged.tar"
    make(file, 40 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CommandError, match=r"not a backup|holds what"):
        unpack(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert all(part.stat().st_size < 1000 for part in tmp_path.glob("unpacked-*/*"))


def test_a_chain_of_headers_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("headers")
    entry.type = tarfile.XHDTYPE
    file = tmp_path / "forged.tar"
    file.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) * 5000)
    with pytest.raises(CommandError, match="not a backup of this platform"):
        unpack(file)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 4095), st.binary(min_size=1, max_size=12)), min_size=1, max_size=6
    )
)
def test_whatever_happened_to_its_headers_there_is_one_sentence(
    archive: Path, changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(archive.read_bytes())
    for at, new in changes:
        content[at : at + len(new)] = new
    file = archive.with_name("changed.tar")
    file.write_bytes(content)
    with suppress(CommandError):
        folder = unpack(file)
        assert {part.name: part.read_bytes() for part in folder.iterdir()} == WRITTEN
