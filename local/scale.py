"""Several API servers in place of one (``SCALE=1``): which compose file that adds, and what it goes with."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local.errors import CommandError

OVERLAY = "deploy/scale.yaml"
MOST_SERVERS = 8  # as many as Postgres has connections for: tests/architecture/test_scale.py
_FILES, _SEPARATOR = "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR"
# As Compose looks for one, the first that is there, unless COMPOSE_FILE says which files there are.
_OVERRIDES = tuple(
    f"{stem}.override.{end}" for stem in ("compose", "docker-compose") for end in ("yml", "yaml")
)


def compose_files(values: Mapping[str, str], root: Path) -> list[str]:
    """Return the compose files that a checkout's project consists of.

    Args:
        values: The knobs.
        root: The checkout.
    """
    if named := values.get(_FILES):
        files = [one for one in named.split(values.get(_SEPARATOR) or os.pathsep) if one]
    else:
        override = next((name for name in _OVERRIDES if (root / name).exists()), "")
        files = ["docker-compose.yaml", *filter(None, [override])]
    if is_on(values) and not any(one.replace("\\", "/").endswith(OVERLAY) for one in files):
        files.insert(1, OVERLAY)  # others, such as a team's own, may change what it says
    return files


def file_variables(files: list[str]) -> dict[str, str]:
    """Return the variables that tell Compose of files."""
    return {_FILES: os.pathsep.join(files), _SEPARATOR: os.pathsep}


def scale_variables(values: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return the variables that tell Compose of the overlay as well; none where it is not asked for."""
    return file_variables(compose_files(values, root)) if is_on(values) else {}


def is_on(values: Mapping[str, str]) -> bool:
    """Tell whether ``SCALE`` asks for several servers.

    Raises:
        CommandError: It is neither 0 nor 1.
    """
    asked = values.get("SCALE") or "0"
    if asked not in {"0", "1"}:
        raise CommandError(
            f"SCALE={asked!r}: set it to 1 for several API servers, or to 0 for one; API_SERVERS is how many"
        )
    return asked == "1"


def runs_scaled(project: str) -> bool:
    """Tell whether a project's containers are those of several servers, whatever the settings say now."""
    label = "com.docker.compose.project"
    shown = ("--format", f'{{{{.Label "{label}.config_files"}}}}')
    command = ["docker", "ps", "--all", "--filter", f"label={label}={project}", *shown]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):  # then nothing else finds an engine either, and says so
        return False
    return OVERLAY in listed.replace("\\", "/")


def check_scale(values: Mapping[str, str], root: Path, *, in_containers: bool) -> None:
    """Refuse what does not go together with several servers.

    Raises:
        CommandError: It names what does not.
    """
    files = " ".join(compose_files(values, root)).replace("\\", "/")
    if OVERLAY not in files:
        return
    if not in_containers:
        raise CommandError("several servers (SCALE=1) run in containers only; start Docker, or set SCALE=0")
    for other in ("deploy/own-database.yaml", "deploy/other-server.yaml"):
        if other in files:
            raise CommandError(f"COMPOSE_FILE has {other}, which {OVERLAY} does not go with; set SCALE=0")
    count = values.get("API_SERVERS") or "3"
    if not count.isdecimal() or not 1 <= int(count) <= MOST_SERVERS:
        raise CommandError(
            f"API_SERVERS={count!r}: set it to a number from 1 to {MOST_SERVERS}, "
            "for which Postgres has connections"
        )
