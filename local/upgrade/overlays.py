"""The team's own compose files in a trial: they apply there, but must not touch the platform's data."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.bundle.bundle import has_bundle
from local.containers.images import missing_images
from local.errors import CommandError
from local.settings.platform import ROOT, Settings
from local.settings.scale import compose_files, file_variables
from local.upgrade.git import Git

_WRITERS = ("postgres", "server", "secrets")  # those of the services that a trial starts


def own_files(settings: Settings, root: Path = ROOT) -> dict[str, str]:
    """Return the variables that give a clone the compose files too that git does not track in a checkout."""
    git = Git(root)
    files = compose_files(settings.values, root)
    theirs = [one if git.ask("ls-files", "--", one) else os.path.normpath(root / one) for one in files]
    return file_variables(theirs) if theirs != files else {}


def check_apart(config: Mapping[str, Any], project: str, root: Path = ROOT) -> None:
    """Refuse a trial that would work on the running platform's data.

    Args:
        config: The configuration that Compose derives from the files.
        project: The name of the trial's project.
        root: The trial's folder.

    Raises:
        CommandError: A volume has one name for every project, or is a folder of this machine.
    """
    volumes: dict[str, dict[str, Any]] = config.get("volumes") or {}
    for name, volume in volumes.items():
        own = str(volume.get("name", "")).startswith(f"{project}_")
        options: dict[str, str] = volume.get("driver_opts") or {}
        is_elsewhere = options.get("device") and options.get("type") != "tmpfs"  # each project has its memory
        if volume.get("external") or not own or is_elsewhere:
            raise CommandError(
                f"the volume {name} is one for all projects (`name`, `external` or `device` in a compose "
                "file of yours), so that a trial would work on the platform's own data; take that line out, "
                "or `make backup`, `git merge` the release, then `make up`"
            )
    for service in _WRITERS:
        mounts: list[dict[str, Any]] = config["services"].get(service, {}).get("volumes") or []
        for mount in mounts:
            source = Path(str(mount.get("source", "")))
            if mount["type"] == "bind" and not mount.get("read_only") and not source.is_relative_to(root):
                raise CommandError(
                    f"{service} may write into {source} (a compose file of yours), so that a trial would "
                    "work on the platform's own data; mount it with read_only, or take a volume"
                )


def check_images(config: Mapping[str, Any], settings: Settings) -> None:
    """Refuse a trial whose images may not be built and are not on this machine.

    Raises:
        CommandError: One is missing; the message names it.
    """
    if settings.builds_images or settings.registry or has_bundle():
        return
    services: dict[str, dict[str, Any]] = config["services"]
    built = sorted({str(one["image"]) for one in services.values() if "build" in one and "image" in one})
    if missing := missing_images(built):
        raise CommandError(
            f"IMAGE_POLICY=never keeps images from being built, and {missing[0]} is not here; bring this "
            "release's images first, give a bundle (FROM=), or leave IMAGE_POLICY out"
        )
