"""Environments of published programs: one each, built from the package registry and kept between runs.

An environment's folder under `~/.cache/yeedu-prefect/environments` carries a hash of everything that went
into it, so that a change builds a new one and an unchanged one is used as it is.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from tests.built_once import built_once

PYTHON = "3.11"
"""What most of them were published for; Prefect 2 does not run on much newer ones."""

RESOLVED_AT = "2026-11-01T00:00:00Z"
"""None of them says how new its requirements may be; as of this moment they install and import."""

BUILD_TIMEOUT_SECONDS = 900  # on a busy machine
NO_NETWORK = ("Failed to fetch", "error sending request", "network was disabled", "No interpreter found")


class EnvironmentUnavailableError(Exception):
    """The registry, or a Python for the environment, cannot be reached."""


@dataclass(frozen=True)
class Published:
    """What an environment is made of.

    Attributes:
        name: Begins the name of the environment's folder.
        requirements: Everything that is asked for by name.
        stand_ins: Modules that the program imports but its package lacks, as dotted name and the class that
            is imported from it.
        prepare: A program of the environment, with arguments, to run once with the environment's `home`
            folder as `HOME` and `PREFECT_HOME`.
        python: The version of Python that it is for.
    """

    name: str
    requirements: tuple[str, ...]
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()
    python: str = PYTHON


def environment_of(published: Published) -> Path:
    """Return the folder of a program's environment, with `bin` and `home`, built if it is not there yet.

    Raises:
        EnvironmentUnavailableError: It would have to be built, and what it is built from cannot be reached.
        RuntimeError: It cannot be built for another reason.
    """
    recipe = json.dumps([asdict(published), RESOLVED_AT], sort_keys=True)
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    with built_once(f"environments/{published.name}-{key}") as folder:
        complete = folder / "complete.json"
        if not complete.exists():
            _build(published, folder)
            complete.write_text(recipe, encoding="utf-8")
    return folder


def environment_or_skip(published: Published) -> Path:
    """Return the folder of a program's environment; skip the test, or fail it, where none can be had."""
    try:
        return environment_of(published)
    except EnvironmentUnavailableError as error:
        give_up(published.name, error)


def give_up(what: str, error: EnvironmentUnavailableError) -> NoReturn:
    """Skip the test that needs an environment, or fail it where no test may be left out."""
    if os.environ.get("REQUIRE_DOCKER"):
        pytest.fail(f"REQUIRE_DOCKER is set, but {what} cannot be installed: {error}", pytrace=False)
    pytest.skip(f"{what} cannot be installed: {error}")


def _build(published: Published, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    uv("venv", "--python", _interpreter(published.python), str(folder))
    python = str(folder / "bin" / "python")
    uv("pip", "install", "--python", python, "--exclude-newer", RESOLVED_AT, *published.requirements)
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([python, "-c", purelib], text=True).strip())
    for module, name in published.stand_ins.items():
        file = packages.joinpath(*module.split(".")).with_suffix(".py")
        if file.exists():
            raise RuntimeError(f"{published.name} has {module} by now; take it out of the stand-ins.")
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"class {name}:\n    pass\n", encoding="utf-8")
    home = folder / "home"
    home.mkdir()
    if published.prepare:
        program, *arguments = published.prepare
        _run([str(folder / "bin" / program), *arguments], {"HOME": str(home), "PREFECT_HOME": str(home)})


def _interpreter(version: str) -> str:
    """Return pyenv's Python of a version, where it has one: its shims show uv the selected version alone."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(found[-1]) if found else version


def uv(*arguments: str) -> None:
    """Run uv, as an installation of its user's own would.

    Raises:
        EnvironmentUnavailableError: There is no uv, or what it needs cannot be reached.
        RuntimeError: It failed for another reason.
    """
    beside_python = Path(sys.executable).with_name("uv")
    program = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if program is None:
        raise EnvironmentUnavailableError("there is no uv beside this Python or on PATH")
    _run([program, "--quiet", *arguments], {})


def _run(command: list[str], environment: dict[str, str]) -> None:
    # Without what the user has set for a Prefect of their own: another database, for example.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        command,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_TIMEOUT_SECONDS,
    )
    if done.returncode:
        why = done.stderr.strip()
        if any(text in why for text in NO_NETWORK):
            raise EnvironmentUnavailableError(why.splitlines()[-1].strip().removeprefix("cause: "))
        raise RuntimeError(f"`{' '.join(command)}` failed: {why}")
