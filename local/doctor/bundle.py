"""``make doctor BUNDLE=1``: one archive for support, with every secret masked."""

import io
import json
import platform
import tarfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from local.backup import prefect_version
from local.doctor.env_file import env_files, is_secret
from local.doctor.masking import MASK, Masker
from local.doctor.server import health_page, rescue_page
from local.doctor.site import COMMAND_SECONDS, JSON, Site, ended
from local.dotenv import dotenv_script
from local.engine import container_of
from local.errors import CommandError
from local.record import end_of

if TYPE_CHECKING:
    from local.doctor.run import Told

LINES = 400
_LOG_BYTES = 100_000
_NOT_KNOWN = "left out: the platform's secrets could not be read ({}), so that they cannot be masked"


def place_of(root: Path) -> Path:
    """Return a new archive's name, after the time, in a folder that git does not know."""
    return root / "build" / f"yeedu-prefect-doctor-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"


def write_bundle(
    target: Path, site: Site, masker: Masker, told: "Sequence[Told]", *, unknown: str = ""
) -> None:
    """Write the archive, for this user's eyes only.

    Args:
        target: The file.
        site: What is packed.
        masker: Hides secrets; what still has one is left out.
        told: What the checks found.
        unknown: Why the platform's own secrets are not known to the masker: then its logs are left out.

    Raises:
        CommandError: It exists, or cannot be written.
    """
    if target.exists():
        raise CommandError(f"{target} exists already; give another name: make doctor BUNDLE=FILE")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        with tarfile.open(target, "w:gz") as archive:
            for name, text in _members(site, told, unknown):
                hidden = masker.masked(text)
                if masker.has_secret(hidden):
                    hidden = "left out: a secret in it could not be masked\n"
                content = hidden.encode("utf-8", errors="replace")
                entry = tarfile.TarInfo(f"{target.name.removesuffix('.tar.gz')}/{name}")
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(datetime.now(UTC).timestamp())
                archive.addfile(entry, io.BytesIO(content))
    except OSError as error:
        target.unlink(missing_ok=True)
        raise CommandError(f"{target} cannot be written: {error.strerror}") from None


def _members(site: Site, told: "Sequence[Told]", unknown: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file, before anything is masked."""
    from local.doctor.run import document, lines_of

    yield "doctor.json", json.dumps(document(site, told), indent=2)
    yield "doctor.txt", "\n".join(lines_of(told)) + "\n"
    yield "versions.txt", _versions(site)
    yield "settings.txt", _settings(site)
    yield "disk.txt", _disk(site)
    yield "health.json", json.dumps({"server": health_page(site), "rescue": rescue_page(site)}, indent=2)
    if site.items:
        yield "containers.json", json.dumps([_container(item) for item in site.items], indent=2)
    for name, text in _logs(site):
        yield f"logs/{name}", _NOT_KNOWN.format(unknown) if unknown else text


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
    """Return what is set, by file, with the values of secrets masked by their names."""
    script = dotenv_script()
    lines: list[str] = []
    for file in env_files(site.root):
        lines.append(f"# {file.name}")
        try:
            found = list(script.lines_of(file.read_text(encoding="utf-8-sig"), file.name))
        except (OSError, ValueError) as error:
            # Not the line itself: what cannot be read cannot be masked.
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


def _container(item: JSON) -> JSON:
    """Return what matters of a container: nothing of its environment, nor of what is mounted."""
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
            {"end": one.get("End"), "code": one.get("ExitCode"), "output": str(one.get("Output"))[:2000]}
            for one in checks[-3:]
        ],
    }


def _logs(site: Site) -> Iterator[tuple[str, str]]:
    """Yield the end of each service's log."""
    for item in site.items:
        done = ended(["docker", "logs", "--timestamps", f"--tail={LINES}", item["Id"]])
        yield f"{container_of(item).service}.log", (done.output + done.said)[-10 * _LOG_BYTES :]
    for file in sorted([*(site.state / "logs").glob("*.log"), *site.state.glob("supervisord.log")]):
        yield file.name, end_of(file, _LOG_BYTES)
