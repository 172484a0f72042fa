"""A backup's file format: a tar archive whose first member is a manifest with the checksums of all others."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

from local.errors import CommandError

DATABASE = "database"
KEY = "encryption-key"
SETTINGS = "settings.env"
_NEEDED = {DATABASE, KEY}
_MANIFEST = "yeedu-prefect-backup.json"
_FORMAT = 1
_AT_ONCE_BYTES = 1 << 20
_NO_TAR = (tarfile.TarError, ArithmeticError, EOFError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class Manifest:
    """What a backup holds.

    Attributes:
        database: ``postgres`` (containers) or ``sqlite`` (local processes).
        prefect: The version of Prefect whose tables these are.
        created: When it was made, in ISO form, UTC.
        members: The SHA-256 of each file, by name.
        format: The version of the archive's format.
    """

    database: str
    prefect: str
    created: str
    members: Mapping[str, str]
    format: int = _FORMAT


def write_archive(target: Path, folder: Path, database: str, prefect: str, created: str) -> Manifest:
    """Put every file of a folder into a new archive that only its owner may read.

    Raises:
        CommandError: The archive exists already, or cannot be written.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    manifest = Manifest(database, prefect, created, {file.name: digest(file) for file in files})
    head = json.dumps(asdict(manifest), indent=2).encode()
    if target.exists():
        raise CommandError(f"{target} exists already; give another name: make backup FILE=...")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=".making-") as scratch:  # private to this user
            whole = Path(scratch, target.name)
            with whole.open("xb") as stream:
                whole.chmod(0o600)
                with tarfile.open(fileobj=stream, mode="w") as archive:
                    entry = tarfile.TarInfo(_MANIFEST)
                    entry.size = len(head)
                    archive.addfile(entry, io.BytesIO(head))
                    for file in files:
                        archive.add(file, file.name)
                stream.flush()
                os.fsync(stream.fileno())
            whole.replace(target)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}") from None
    return manifest


def read_archive(source: Path, folder: Path) -> Manifest:
    """Unpack an archive into an empty folder, verify every checksum, and return the manifest.

    Nothing in the archive is trusted: no link is followed, only the expected files are written, and at most
    a megabyte of any file is in memory at a time.

    Raises:
        CommandError: It is missing, not a backup of this platform, truncated or damaged, or space runs out.
    """
    with _opened(
        source, f"{folder.parent} has too little space to unpack it; set TMPDIR to a folder with more"
    ) as archive:
        manifest = _manifest(source, archive)
        for entry, written in _members(source, archive, manifest):
            with (folder / entry.name).open("wb") as target:
                shutil.copyfileobj(_content(archive, entry), target, _AT_ONCE_BYTES)
            _check(source, entry.name, digest(folder / entry.name), written)
    return manifest


def verify_archive(source: Path, is_late: Callable[[], bool]) -> tuple[Manifest, bool]:
    """Verify an archive without unpacking it; stop as soon as `is_late` returns true.

    Returns:
        Its manifest, and whether every file was read and verified.

    Raises:
        CommandError: It is missing, not a backup of this platform, truncated or damaged.
    """
    with _opened(source, "no space is left") as archive:
        manifest = _manifest(source, archive)
        for entry, written in _members(source, archive, manifest):
            stream, content = _content(archive, entry), hashlib.sha256()
            while part := stream.read(_AT_ONCE_BYTES):
                content.update(part)
                if is_late():
                    return manifest, False
            _check(source, entry.name, content.hexdigest(), written)
    return manifest, True


@contextmanager
def _opened(source: Path, out_of_space: str) -> Generator[tarfile.TarFile]:
    """Open an archive, and turn any error while it is read into one sentence.

    Raises:
        CommandError: See `read_archive`.
    """
    try:
        if source.exists() and not source.is_file():
            raise CommandError(f"{source} is not a file; name a backup: make restore FILE=backups/NAME.tar")
        with (
            _Bounded(source.open("rb", buffering=0)) as stream,
            tarfile.open(fileobj=stream, mode="r:") as archive,
        ):
            yield archive
    except FileNotFoundError:
        raise CommandError(f"{source}: there is no such file; `ls backups` shows your backups") from None
    except _NO_TAR:
        raise CommandError(f"{source} is truncated, or not a backup of this platform") from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CommandError(f"{source}: {out_of_space}") from None
        raise CommandError(f"{source} cannot be read: {error.strerror}") from None


class _Bounded(io.BufferedReader):
    """A file that refuses any read larger than a backup's headers need, so that memory stays bounded."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _AT_ONCE_BYTES:
            raise tarfile.ReadError("a header of that size is none of a backup's")
        return super().read(size)


def _members(
    source: Path, archive: tarfile.TarFile, manifest: Manifest
) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Yield each member with its checksum from the manifest; refuse any that is unlisted or missing."""
    left = dict(manifest.members)
    while entry := archive.next():
        written = left.pop(entry.name, None)
        if written is None or not _is_plain(entry):
            raise CommandError(
                f"{source} is not a backup of this platform: it holds what its manifest does not"
            )
        yield entry, written
    if left:
        raise CommandError(f"{source} is truncated: {', '.join(sorted(left))} is missing; use another backup")


def _check(source: Path, name: str, found: str, written: str) -> None:
    if found != written:
        raise CommandError(
            f"{source} is damaged: {name} in it differs from what was written; use another backup"
        )


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(entry)
    if content is None:
        raise tarfile.ReadError("a plain file without content")
    return content


def _is_plain(entry: tarfile.TarInfo) -> bool:
    """Tell whether it is a regular file, as large on disk as in the archive: no link, and not sparse."""
    return entry.isreg() and not entry.issparse()


def _manifest(source: Path, archive: tarfile.TarFile) -> Manifest:
    first = archive.next()
    if first is None or first.name != _MANIFEST or not _is_plain(first) or first.size > _AT_ONCE_BYTES:
        raise CommandError(f"{source} is not a backup of this platform; `make backup` creates one")
    try:
        fields = json.loads(_content(archive, first).read())
        if fields["format"] != _FORMAT:
            found = fields["format"] if isinstance(fields["format"], int) else "no number"
            raise CommandError(
                f"{source} has format {found}; this checkout reads format {_FORMAT}: "
                "check out the version that it was made with"
            )
        manifest = _checked(fields)
    except _NO_TAR:
        raise CommandError(f"{source} is damaged: its manifest cannot be read; use another backup") from None
    if missing := _NEEDED - manifest.members.keys():
        raise CommandError(
            f"{source} is incomplete: it has no {' and no '.join(sorted(missing))}; use another backup"
        )
    return manifest


def _checked(fields: dict[str, Any]) -> Manifest:
    """Build the manifest from JSON, and validate every field, since any may end up on a terminal.

    Raises:
        ValueError: The fields are not a manifest's.
    """
    members = cast("dict[str, Any]", fields["members"])
    known = {*_NEEDED, SETTINGS}
    is_one = (
        isinstance(fields["members"], dict)
        and fields.keys() == Manifest.__dataclass_fields__.keys()
        and fields["database"] in {"postgres", "sqlite"}
        and re.fullmatch(r"\d[\w.+]{0,40}", fields["prefect"], re.ASCII)
        and members.keys() <= known
        and all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in members.values())
    )
    if not is_one:
        raise ValueError("these are not a manifest's fields")
    created = datetime.fromisoformat(fields["created"]).isoformat(timespec="seconds")
    return Manifest(fields["database"], fields["prefect"], created, members)


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
