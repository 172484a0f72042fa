"""Several API servers (``SCALE=1``): the compose files that this adds, and the checks of its settings."""

import os
from collections.abc import Mapping
from pathlib import Path

from local.containers.docker import labels_of
from local.errors import CommandError
from local.script import load_script
from local.settings.platform import ROOT

OVERLAY = "deploy/scale.yaml"
OWN_DATABASE = "deploy/own-database.yaml"
OWN_REDIS = "deploy/own-redis.yaml"
_TOGETHER = {OWN_DATABASE: "deploy/scale-own-database.yaml"}  # what the two lack together, named after both
MAX_SERVERS = 8  # as many as Postgres has connections for: tests/architecture/test_scale.py
_FILES, _SEPARATOR = "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR"
# Compose takes the first of these that exists, unless COMPOSE_FILE names the files.
_OVERRIDES = tuple(
    f"{stem}.override.{end}" for stem in ("compose", "docker-compose") for end in ("yml", "yaml")
)


def compose_files(values: Mapping[str, str], root: Path) -> list[str]:
    """Return the compose files of a checkout's project.

    Args:
        values: The settings.
        root: The checkout.
    """
    if named := values.get(_FILES):
        files = [one for one in named.split(values.get(_SEPARATOR) or os.pathsep) if one]
    else:
        override = next((name for name in _OVERRIDES if (root / name).exists()), "")
        files = ["docker-compose.yaml", *filter(None, [override])]
    if is_on(values):
        if _place(files, OVERLAY) is None:
            files.insert(1, OVERLAY)  # others, such as a team's own, may change what it says
        if values.get("REDIS_URL") and _place(files, OWN_REDIS) is None:
            files.insert((_place(files, OVERLAY) or 0) + 1, OWN_REDIS)
        for other, both in _TOGETHER.items():
            place = _place(files, other)
            if place is not None and _place(files, both) is None:
                files.insert(place + 1, both)
    return files


def _place(files: list[str], overlay: str) -> int | None:
    """Return the position of a file of ``deploy/`` among others; ``None`` if it is not among them."""
    places = (place for place, one in enumerate(files) if one.replace("\\", "/").endswith(overlay))
    return next(places, None)


def file_variables(files: list[str]) -> dict[str, str]:
    """Return the variables that tell Compose which files to use."""
    return {_FILES: os.pathsep.join(files), _SEPARATOR: os.pathsep}


def scale_variables(values: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return the variables that add the overlay to Compose's files; none unless ``SCALE`` asks for it."""
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
    """Tell whether a project's containers are those of several servers, whatever the settings say.

    A container that survives the way back to one server still names the files that it was started from, but
    that of ``services`` does not survive.
    """
    found = labels_of(project, "config_files", service="services")
    return any(_place(files.split(","), OVERLAY) is not None for files in found)


def changes_scale(values: Mapping[str, str], root: Path, project: str) -> bool:
    """Tell whether a running project would go from one server to several, or back."""
    return runs_scaled(project) != (_place(compose_files(values, root), OVERLAY) is not None)


def check_scale(values: Mapping[str, str], root: Path, *, in_containers: bool) -> None:
    """Refuse settings that are incompatible with several servers.

    Raises:
        CommandError: Some are; the message names them.
    """
    files = compose_files(values, root)
    place = _place(files, OVERLAY)
    _check_redis(values, files)
    if place is None:
        return
    if not in_containers:
        raise CommandError("several servers (SCALE=1) run in containers only; start Docker, or set SCALE=0")
    if _place(files, other := "deploy/other-server.yaml") is not None:
        raise CommandError(f"COMPOSE_FILE has {other}, which {OVERLAY} does not go with; set SCALE=0")
    for other in (*_TOGETHER, OWN_REDIS):
        if place > (_place(files, other) or place):
            raise CommandError(f"COMPOSE_FILE has {OVERLAY} after {other}; name it before that file")
    count = values.get("API_SERVERS") or "3"
    if not count.isdecimal() or not 1 <= int(count) <= MAX_SERVERS:
        raise CommandError(
            f"API_SERVERS={count!r}: set it to a number from 1 to {MAX_SERVERS}, "
            "for which Postgres has connections"
        )


def _check_redis(values: Mapping[str, str], files: list[str]) -> None:
    """Refuse the user's own Redis if it would not be used, or if its address is not valid.

    Raises:
        CommandError: One is the case; the message says what to set.
    """
    url, is_there = values.get("REDIS_URL", ""), _place(files, OWN_REDIS) is not None
    if is_there and not url:
        raise CommandError(f"COMPOSE_FILE has {OWN_REDIS}, and .env has no REDIS_URL; set it there")
    if not url:
        return
    if _place(files, OVERLAY) is None:
        raise CommandError("REDIS_URL is set, and one server needs no Redis; set SCALE=1, or remove it")
    if not is_there:
        raise CommandError(
            f"REDIS_URL is set, and COMPOSE_FILE has no {OWN_REDIS}; set SCALE=1, which adds it"
        )
    try:
        load_script(ROOT / "server" / "with_secrets.py").environment_with_redis({"REDIS_URL": url})
    except ValueError as error:
        raise CommandError(str(error)) from None
