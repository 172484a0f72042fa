"""Provides every image before containers start: builds, pulls or loads it, or uses the existing one."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from local.bundle.bundle import Bundle, bundle_of
from local.console import Console
from local.containers.engine import Project
from local.errors import CommandError
from local.install.packages import further_digest
from local.processes.services import STATE
from local.settings.platform import Settings


def provide_images(
    project: Project, settings: Settings, console: Console, *, of_all_profiles: bool = False
) -> None:
    """Load a bundle's images, build what changed, or pull from a registry what this machine lacks.

    Raises:
        CommandError: An image is unavailable.
    """
    if bundle := bundle_of():
        bundle.check_packages(further_digest(settings))
        load_images(bundle, images_of(project), console)
        return
    # The warehouse needs the image of Postgres even if the database is elsewhere.
    missing = ("pull", "--quiet", "--policy", "missing")
    if settings.registry:
        console.step(f"images: pulling from {settings.registry} what is missing; building none")
        steps = [missing]
    elif settings.builds_images:
        console.step("images: building what changed; the first time takes a few minutes")
        build = ("build",) if sys.stdout.isatty() else ("build", "--quiet")  # no progress bars in a file
        steps = [(*missing, "warehouse"), build]
    else:
        console.step("images: using the existing ones (IMAGE_POLICY=never)")
        steps = [(*missing, "warehouse")]
    for arguments in steps:
        code = project.run(*(("--profile", "*") if of_all_profiles else ()), *arguments)
        if code:
            raise CommandError(
                f"`docker compose {arguments[0]}` failed with code {code}; its last lines say why"
            )


def config_of(project: Project, *options: str) -> dict[str, Any]:
    """Return the configuration that Compose derives from its files.

    Raises:
        CommandError: Compose cannot read its files.
    """
    answer = project.answer(*options, "config", "--format", "json")
    if not answer:
        raise CommandError("`docker compose config` fails; run it to see why")
    return json.loads(answer)


def images_of(project: Project) -> dict[str, str]:
    """Return the image of every service, even a disabled one, as this checkout and `.env` name it.

    Raises:
        CommandError: Compose cannot read its files.
    """
    services: dict[str, dict[str, Any]] = config_of(project, "--profile", "*")["services"]
    return {name: service["image"] for name, service in services.items() if "image" in service}


def load_images(bundle: Bundle, wanted: Mapping[str, str], console: Console) -> None:
    """Load a bundle's images unless they are loaded, and tag them with the names that services use.

    Args:
        bundle: The bundle.
        wanted: The name of each service's image here; services that the bundle does not know are skipped.
        console: Where progress is shown.

    Raises:
        CommandError: They are damaged or for another kind of machine, or Docker does not accept them.
    """
    names = {wanted[one]: image for one, image in bundle.contents.services.items() if one in wanted}
    record = record_of(bundle)
    if names and _ids(names) == _loaded(record):
        return
    machine = _docker("version", "--format", "{{.Server.Arch}}").strip()
    file = bundle.checked_images(machine)
    console.step("images: loading the bundle's; building and pulling none")
    _docker("load", "--quiet", "--input", str(file))
    for name, image in names.items():
        if without_digest(name) != image:
            _docker("tag", image, without_digest(name))
    ids = _ids(names)
    if unknown := [name for name, loaded in ids.items() if not loaded]:
        raise CommandError(
            f"{unknown[0]}: an image that was loaded has no digest of a registry; name it "
            f"{without_digest(unknown[0])} in .env, which is the bundle's"
        )
    record.parent.mkdir(mode=0o700, exist_ok=True)
    record.write_text(json.dumps(ids) + "\n", encoding="utf-8")


def record_of(bundle: Bundle, state: Path | None = None) -> Path:
    """Return the file that records, by image name, the ID that was loaded from a bundle.

    Args:
        bundle: The bundle; nothing is ever written into its own folder.
        state: The state folder of a checkout; by default of this one.
    """
    return (state or STATE) / f"images-{bundle.sums[bundle.contents.images][:16]}.json"


def without_digest(name: str) -> str:
    """Return an image's name without ``@sha256:...``, with which it cannot be tagged, saved or loaded."""
    return name.partition("@")[0]


def missing_images(names: Iterable[str]) -> list[str]:
    """Return the images that are not on this machine."""
    return [name for name, found in _ids(dict.fromkeys(names, "")).items() if not found]


def _loaded(record: Path) -> Mapping[str, str] | None:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _ids(names: Mapping[str, str]) -> dict[str, str]:
    """Return the ID of the image behind each name; empty if it is not on this machine."""
    shown = ("image", "inspect", "--format", "{{.Id}}")
    asked = {
        name: subprocess.run(["docker", *shown, name], capture_output=True, text=True, check=False).stdout
        for name in sorted(names)
    }
    return {name: answer.strip() for name, answer in asked.items()}


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise CommandError(f"docker {arguments[0]}: {lines[-1] if lines else done.returncode}")
    return done.stdout
