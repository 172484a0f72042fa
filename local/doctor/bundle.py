"""``make doctor BUNDLE=1``: one archive for support, with every secret masked."""

import io
import json
import os
import platform
import tarfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from local.backup.backups import prefect_version
from local.containers.engine import container_of
from local.doctor.env_file import env_files, is_secret
from local.doctor.masking import MASK, Masker
from local.doctor.server import health_page, rescue_page
from local.doctor.site import COMMAND_SECONDS, JSON, Ended, Site, ended
from local.errors import CommandError
from local.processes.record import end_of
from local.settings.dotenv import dotenv_script

if TYPE_CHECKING:
    from local.doctor.run import Told

LINES = 400
_LOG_BYTES = 1_000_000
_OUTPUT_CHARACTERS = 2000
_NOT_KNOWN = "left out: secrets could not be read ({}), so that they cannot be masked"


def place_of(root: Path) -> Path:
    """Return a path for a new archive, named after the time, in a folder that git ignores."""
    return root / "build" / f"yeedu-prefect-doctor-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"


def write_bundle(
    target: Path, site: Site, masker: Masker, told: "Sequence[Told]", *, unknown: str = ""
) -> None:
    """Write the archive, readable only by this user, completely or not at all.

    Args:
        target: The file.
        site: What to pack; what cannot be read is left out, with a line that says why.
        masker: Hides secrets; a file that still has one is left out.
        told: What the checks found.
        unknown: Why there may be secrets that the masker does not know; logs and the output of health
            checks are then left out.

    Raises:
        CommandError: The file exists, or cannot be written.
    """
    file = _opened(target)
    try:
        with file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in _members(site, masker, told, unknown):
                # A document was masked value by value, and its keys may equal somebody's secret.
                is_open = not name.endswith(".json") and masker.has_secret(text)
                hidden = "left out: a secret in it could not be masked\n" if is_open else text
                content = hidden.encode("utf-8", errors="replace")
                entry = tarfile.TarInfo(f"{target.name.removesuffix('.tar.gz')}/{name}")
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(datetime.now(UTC).timestamp())
                archive.addfile(entry, io.BytesIO(content))
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CommandError(f"{target} cannot be written: {error.strerror or error}") from None
        raise


def _opened(target: Path) -> IO[bytes]:
    """Create the file, and refuse if its path exists: no file is overwritten, no link followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    if os.path.lexists(target):
        raise CommandError(f"{target} exists already; give another name: make doctor BUNDLE=FILE")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(target, flags, 0o600), "wb")
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}") from None


def _members(site: Site, masker: Masker, told: "Sequence[Told]", unknown: str) -> Iterator[tuple[str, str]]:
    """Yield each file's name and text, with known secrets masked."""
    from local.doctor.run import document, lines_of

    def written(found: object) -> str:
        return json.dumps(masker.masked_document(found), indent=2)

    making: dict[str, Callable[[], str]] = {
        "doctor.json": lambda: written(document(site, told)),
        "doctor.txt": lambda: masker.masked("\n".join(lines_of(told)) + "\n"),
        "versions.txt": lambda: masker.masked(_versions(site)),
        "settings.txt": lambda: masker.masked(_settings(site)),
        "disk.txt": lambda: masker.masked(_disk(site)),
        "health.json": lambda: written({"server": health_page(site), "rescue": rescue_page(site)}),
    }
    if site.items:
        making["containers.json"] = lambda: written(
            [_container(item, masker, unknown) for item in site.items]
        )
    for name, read in _logs(site):
        making[f"logs/{name}"] = lambda read=read: (
            _NOT_KNOWN.format(masker.masked(unknown)) if unknown else _end(masker.masked(read()))
        )
    for name, make in making.items():
        try:
            yield name, make()
        except Exception as error:  # noqa: BLE001 - the other files are still useful
            yield (
                name,
                masker.masked(f"left out: {error if isinstance(error, CommandError) else repr(error)}\n"),
            )


def _end(text: str) -> str:
    """Return the end of a long log, in whole lines."""
    cut = text[-_LOG_BYTES:]
    return cut if len(cut) == len(text) else cut.partition("\n")[2]


def _versions(site: Site) -> str:
    git = ["git", "-C", str(site.root)]
    commit = ended([*git, "log", "-1", "--format=%H %cI"]).output.strip()
    changed = ended([*git, "status", "--porcelain", "--untracked-files=no"]).output
    told = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "engine": site.engine.description,
        "form": site.form,
        "project": site.project.name,
        "prefect": f"{prefect_version(site.root)} (locked)",
        "commit": commit or "unknown",
        "changed": f"{len(changed.splitlines())} files",
    }
    return "".join(f"{name:<9} {value}\n" for name, value in told.items()) + changed


def _settings(site: Site) -> str:
    """Return the settings of each file, with values masked where the name is a secret's."""
    script = dotenv_script()
    lines: list[str] = []
    for file in env_files(site.root):
        lines.append(f"# {file.name}")
        try:
            found = list(script.lines_of(file.read_text(encoding="utf-8-sig"), file.name))
        except (OSError, ValueError) as error:
            # Not the line itself: what cannot be parsed cannot be masked.
            lines.append(f"cannot be read: {type(error).__name__}")
            continue
        lines += [
            f"{one.name}={MASK if is_secret(one.name) and one.value else one.value or ''}" for one in found
        ]
    return "\n".join(lines or ["# there is no .env"]) + "\n"


def _disk(site: Site) -> str:
    parts = [ended(["df", "-Pk"]).output]
    if site.engine.is_usable:
        parts.append(ended(["docker", "system", "df"], seconds=COMMAND_SECONDS).output)
    if site.state.is_dir():
        parts.append(ended(["du", "-sk", *map(str, sorted(site.state.iterdir()))]).output)
    return "\n".join(parts)


def _container(item: JSON, masker: Masker, unknown: str) -> JSON:
    """Return what matters about a container, without its environment and its mounts."""
    state: JSON = item["State"]
    health: JSON = state.get("Health") or {}
    checks: list[JSON] = health.get("Log") or []
    return {
        "service": container_of(item).service,
        "state": str(container_of(item)),
        "image": item["Config"].get("Image"),
        "image_id": item.get("Image"),
        "created": item.get("Created"),
        "started": state.get("StartedAt"),
        "finished": state.get("FinishedAt"),
        "exit_code": state.get("ExitCode"),
        "out_of_memory": state.get("OOMKilled"),
        "restarts": item.get("RestartCount"),
        "memory_limit": item["HostConfig"].get("Memory"),
        "health": [
            {
                "end": one.get("End"),
                "code": one.get("ExitCode"),
                # Masked before it is cut, so that no part of a secret is left.
                "output": _NOT_KNOWN.format(unknown)
                if unknown
                else masker.masked(str(one.get("Output")))[:_OUTPUT_CHARACTERS],
            }
            for one in checks[-3:]
        ],
    }


def _logs(site: Site) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the name of each service's log, and a function that reads its end in whole lines."""
    for item in site.items:
        command = ["docker", "logs", "--timestamps", f"--tail={LINES}", item["Id"]]
        yield f"{container_of(item).service}.log", lambda command=command: _said(ended(command))
    for file in sorted([*(site.state / "logs").glob("*.log"), *site.state.glob("supervisord.log")]):
        yield file.name, lambda file=file: _last_lines(file)


def _said(done: Ended) -> str:
    return done.output + done.said


def _last_lines(file: Path) -> str:
    text = end_of(file, _LOG_BYTES)
    return text if file.stat().st_size <= _LOG_BYTES else text.partition("\n")[2]
