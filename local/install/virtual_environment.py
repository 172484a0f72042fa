"""Creates ``.venv`` from the hashed locks: with what the platform needs, or with development tools too."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.bundle.bundle import FOLDER, bundle_of, has_bundle
from local.console import Console
from local.errors import CommandError
from local.install.packages import further_digest, further_locks, package_index, trusting
from local.settings.platform import ROOT, Settings

VENV = ROOT / ".venv"
PROGRAMS = VENV / "bin"
PACKAGES = ("yeedu-operator", "yeedu-operator/guide", "yeedu-mock", "deployer", "rescue", "worker")
PLATFORM_LOCKS = ("server.txt", "deployer.txt", "yeedu-mock.txt", "local.txt")  # deployer: and the worker's
WAREHOUSE_LOCK = "warehouse.txt"
DEVELOPMENT_LOCKS = ("dev.txt",)  # has all of the platform's
_STAMP = VENV / "installed.json"


def install(console: Console, settings: Settings, *, for_development: bool) -> None:
    """Bring ``.venv`` up to date with the locks; do nothing if it already is.

    An environment that has the development tools keeps them.

    Raises:
        CommandError: The environment cannot be created, or a package cannot be installed.
    """
    if for_development and has_bundle():
        raise CommandError(f"{FOLDER} has no development tools; delete it on a machine with a package index")
    stamp = _read_stamp() if _has_python() else {}
    kind, locks = choose(stamp, for_development=for_development)
    locks = [*locks, *further_locks(settings)]
    wanted = {kind: lock_digest([*locks, WAREHOUSE_LOCK])}
    if stamp == wanted:
        return
    _STAMP.unlink(missing_ok=True)
    _ensure_venv(console)
    console.step(f"python: installing what requirements/{' and '.join(locks)} list")
    with trusting(settings, PROGRAMS / "python") as certificates:
        environment = {**inherited(), **certificates, **package_index(settings)}
        bundle = bundle_of() if kind == "platform" else None  # a bundle has no development tools
        source = bundle.find_links(further_digest(settings)) if bundle else []
        uv = _uv(environment, source)
        requirements = [argument for lock in locks for argument in ("--requirements", f"requirements/{lock}")]
        _must([*uv, "--require-hashes", *requirements], "the locked packages", environment)
        if kind == "platform":
            _install_warehouse(uv, console, environment)
    editable = [argument for package in PACKAGES for argument in ("--editable", f"./{package}")]
    _must([*uv, "--no-deps", *editable], "the platform's own packages", inherited())
    _STAMP.write_text(json.dumps(wanted) + "\n", encoding="utf-8")


def lock(console: Console, settings: Settings, *, upgrade: bool) -> int:
    """Recompile every list of requirements, and return the exit code; only uv is needed in ``.venv``.

    Args:
        console: Where progress is shown.
        settings: The package index, the certificates to trust, and the folder of the flows' list.
        upgrade: Whether to take new versions of what is locked already.

    Raises:
        CommandError: uv cannot be installed.
    """
    _ensure_venv(console)
    with trusting(settings, PROGRAMS / "python") as certificates:
        environment = {**inherited(), **certificates, **package_index(settings)}
        _uv(environment)
        environment |= {"UV": str(PROGRAMS / "uv"), "PYTHON": sys.executable}
        environment["CONFIG_DIR"] = str(settings.config_dir())
        command = ["requirements/lock", *(["--upgrade"] if upgrade else [])]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _install_warehouse(uv: Sequence[str], console: Console, environment: Mapping[str, str]) -> None:
    """Install Postgres; where there is no wheel for the kind of machine, the platform does without."""
    arguments = (
        "--require-hashes",
        "--only-binary=:all:",
        "--requirements",
        f"requirements/{WAREHOUSE_LOCK}",
    )
    done = subprocess.run([*uv, *arguments], cwd=ROOT, env=environment, capture_output=True, check=False)
    if done.returncode:
        console.step("python: Postgres for the warehouse could not be installed")


def choose(stamp: Mapping[str, str], *, for_development: bool) -> tuple[str, Sequence[str]]:
    """Return the kind of environment to install, and its locks; development tools are never removed.

    Args:
        stamp: The digest of the installed locks, by kind; empty if nothing is installed.
        for_development: Whether the development tools are wanted.
    """
    if for_development or "development" in stamp:
        return "development", DEVELOPMENT_LOCKS
    return "platform", PLATFORM_LOCKS


def lock_digest(locks: Sequence[str]) -> str:
    """Return a digest of everything that decides what an installation contains."""
    files = [ROOT / "requirements" / lock for lock in locks]
    files += [ROOT / package / "pyproject.toml" for package in PACKAGES]
    return files_digest(files)


def files_digest(files: Sequence[Path]) -> str:
    """Return a digest of the names and contents of files.

    Raises:
        CommandError: One of them cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}; is this checkout complete?") from None
        digest.update(f"{file.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _has_python() -> bool:
    """Tell whether the environment's Python runs; the Python that it was created from may be gone."""
    python = PROGRAMS / "python"
    return (
        python.exists()
        and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    )


def _read_stamp() -> dict[str, str]:
    try:
        return json.loads(_STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _ensure_venv(console: Console) -> None:
    """Create the environment unless its Python runs.

    Raises:
        CommandError: It cannot be created.
    """
    if _has_python():
        return
    console.step(f"python: making {VENV.relative_to(ROOT)} with Python {sys.version.split()[0]}")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        lines = (made.stdout + made.stderr).strip().splitlines()
        raise CommandError(
            f"`{sys.executable} -m venv` failed ({lines[-1] if lines else made.returncode}); "
            f"install Python's venv module, for example: apt-get install python3-venv"
        )


def _uv(environment: Mapping[str, str], source: Sequence[str] = ()) -> list[str]:
    """Install uv into the environment from its lock, and return the beginning of ``uv pip install``.

    Args:
        environment: The environment variables of the commands.
        source: The arguments that make pip and uv install from elsewhere than an index.
    """
    pip = [str(PROGRAMS / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _must([*pip, *source, "--require-hashes", "--requirement", "requirements/uv.txt"], "uv", environment)
    quiet = [] if sys.stderr.isatty() else ["--quiet"]  # its progress bars are for a terminal
    return [str(PROGRAMS / "uv"), "pip", "install", *quiet, *source, "--python", str(PROGRAMS / "python")]


def _must(command: list[str], what: str, environment: Mapping[str, str]) -> None:
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise CommandError(f"installing {what} failed; see the last lines above")


def inherited() -> dict[str, str]:
    """Return the user's environment without the variable that would send uv to another ``.venv``."""
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
