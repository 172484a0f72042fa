"""The file that a backup is: a tar archive whose first member names all others, with their checksums."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from local.errors import CommandError

_FORMAT = 1
_MANIFEST = "yeedu-prefect-backup.json"


@dataclass(frozen=True)
class Manifest:
    """What a backup holds.

    Attributes:
        database: ``postgres`` (containers) or ``sqlite`` (local processes).
        prefect: The version of Prefect whose tables these are.
        created: When it was made, in ISO form, UTC.
        members: The SHA-256 of each file, by its name.
        format: Of the archive itself.
    """

    database: str
    prefect: str
    created: str
    members: Mapping[str, str]
    format: int = _FORMAT


def write_archive(target: Path, folder: Path, database: str, prefect: str, created: str) -> Manifest:
    """Put every file of a folder into a new archive that its owner alone may read.

    Raises:
        CommandError: The archive exists, or cannot be written.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    manifest = Manifest(database, prefect, created, {file.name: _digest(file) for file in files})
    head = json.dumps(asdict(manifest), indent=2).encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            target.chmod(0o600)
            with tarfile.open(fileobj=stream, mode="w") as archive:
                entry = tarfile.TarInfo(_MANIFEST)
                entry.size = len(head)
                archive.addfile(entry, io.BytesIO(head))
                for file in files:
                    archive.add(file, file.name)
    except FileExistsError:
        raise CommandError(f"{target} exists already; give another name: make backup FILE=...") from None
    except OSError as error:
        target.unlink(missing_ok=True)
        raise CommandError(f"{target} cannot be written: {error.strerror}") from None
    return manifest


def read_archive(source: Path, folder: Path) -> Manifest:
    """Unpack an archive into an empty folder, and return its manifest once every file is as it was written.

    Raises:
        CommandError: It is missing, no backup of this platform, cut short, or damaged.
    """
    try:
        with tarfile.open(source, mode="r:") as archive:
            first = archive.next()
            manifest = _manifest(source, archive, first)
            for name in manifest.members:
                (folder / name).write_bytes(_content(archive, name))
    except FileNotFoundError:
        raise CommandError(f"{source}: there is no such file; `ls backups` shows your backups") from None
    except (tarfile.TarError, EOFError, KeyError):
        raise CommandError(f"{source} is cut short, or no backup of this platform") from None
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}") from None
    for name, digest in manifest.members.items():
        if _digest(folder / name) != digest:
            raise CommandError(
                f"{source} is damaged: {name} in it is not what was written; use another backup"
            )
    return manifest


def _manifest(source: Path, archive: tarfile.TarFile, first: tarfile.TarInfo | None) -> Manifest:
    if first is None or first.name != _MANIFEST:
        raise CommandError(f"{source} is no backup of this platform: `make backup` makes one")
    try:
        fields = json.loads(_content(archive, _MANIFEST))
        manifest = Manifest(**fields)
        names = dict(manifest.members)
    except (ValueError, TypeError):
        raise CommandError(f"{source} is damaged: its manifest cannot be read; use another backup") from None
    if manifest.format != _FORMAT:
        raise CommandError(f"{source} has format {manifest.format}; this checkout reads format {_FORMAT}")
    if any(Path(name).name != name for name in names):
        raise CommandError(f"{source} is no backup of this platform: it names files outside of itself")
    return manifest


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
