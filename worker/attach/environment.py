"""Makes the worker's Python environment: the hashed locks, and this checkout's packages or their wheels."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

from attach.errors import AttachError
from attach.paths import programs_of, python_of
from attach.requirement_locks import LockError, further_locks, shown

PACKAGES = {
    "yeedu-operator": "prefect_yeedu",
    "yeedu-operator/guide": "prefect_yeedu_guide",
    "worker": "yeedu_prefect_worker",
}
_LOCKS = ("uv.txt", "worker.txt")


def make_environment(
    checkout: Path,
    environment: Path,
    wheels: Path | None,
    extras: str,
    say: Callable[[str], None],
    config_dir: str = "",
) -> None:
    """Bring the environment up to date; return at once if it already is.

    Args:
        checkout: This repository, with its locks.
        environment: The folder of the environment.
        wheels: A folder of wheels to install from, without any package index; `None` to use the index.
        extras: Names of extras in requirements/extras, separated by commas; empty for none.
        say: Called with each step that takes time.
        config_dir: A team's folder, whose list of packages replaces the checkout's; empty for none.

    Raises:
        AttachError: The environment cannot be made.
    """
    stamp = environment / "made-from"
    locks = locks_of(checkout, extras, config_dir)
    wanted = digest(checkout, locks)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and _runs(environment):
        return
    stamp.unlink(missing_ok=True)
    say(f"environment: making {environment}")
    _must([sys.executable, "-m", "venv", "--clear", str(environment)], "making the environment")
    say("environment: installing Prefect and the Yeedu operator; this takes a minute")
    for command in install_commands(checkout, environment, wheels, locks):
        _must(command, "installing")
    stamp.write_text(wanted, encoding="utf-8")


def locks_of(checkout: Path, extras: str, config_dir: str = "") -> list[Path]:
    """Return the locks to install, uv's own first.

    Raises:
        AttachError: There is no such extra, or the flows' list has changed since it was locked.
    """
    try:
        further = further_locks(checkout, extras, Path(config_dir) if config_dir else None)
    except LockError as error:
        raise AttachError(str(error)) from None
    return [*(checkout / "requirements" / lock for lock in _LOCKS), *further]


def digest(checkout: Path, locks: Sequence[Path]) -> str:
    """Return a digest of everything that decides what the environment contains.

    Raises:
        AttachError: The checkout is not complete.
    """
    files = [*locks]
    for package in PACKAGES:
        files += [checkout / package / "pyproject.toml", *sorted((checkout / package / "src").rglob("*.py"))]
    result = hashlib.sha256(sys.version.encode())
    for file in files:
        try:
            content = file.read_bytes()
        except OSError:
            raise AttachError(f"{file} is missing; run this from a whole clone of the repository") from None
        result.update(f"{shown(file, checkout)} {len(content)}\n".encode() + content)
    return result.hexdigest()


def install_commands(
    checkout: PurePath,
    environment: PurePath,
    wheels: PurePath | None,
    locks: Sequence[PurePath],
    own: Sequence[PurePath] | None = None,
) -> list[list[str]]:
    """Return the commands that fill an empty environment.

    Args:
        checkout: This repository.
        environment: The folder of the environment.
        wheels: A folder of wheels, or `None` for the package index.
        locks: What to install, uv's own lock first.
        own: What to install this repository's packages from; `None` for `own_packages`.
    """
    source = ["--no-index", "--find-links", str(wheels)] if wheels else []
    uv = programs_of(environment) / ("uv.exe" if os.name == "nt" else "uv")
    pip = [str(python_of(environment)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python_of(environment)), *source]
    packages = own if own is not None else own_packages(checkout, wheels)
    return [
        [*pip, *source, "--require-hashes", "--requirement", str(locks[0])],
        [
            *install,
            "--require-hashes",
            *(part for lock in locks[1:] for part in ("--requirements", str(lock))),
        ],
        [*install, "--no-deps", *map(str, packages)],
    ]


def own_packages(checkout: PurePath, wheels: PurePath | None) -> list[PurePath]:
    """Return what this repository's own packages are installed from: wheels if given, else their folders."""
    found: list[PurePath] = []
    for folder, distribution in PACKAGES.items():
        built = sorted(Path(wheels).glob(f"{distribution}-*.whl")) if wheels else []
        found.append(built[-1] if built else checkout / folder)
    return found


def own_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for installing: with no trace of another one, and the same for pip and uv."""
    names = inherited.keys() - {"VIRTUAL_ENV", "PYTHONPATH"}
    result = {name: inherited[name] for name in names}
    if certificates := inherited.get("SSL_CERT_FILE"):
        result.setdefault("PIP_CERT", certificates)  # uv reads SSL_CERT_FILE, and pip does not
    if index := inherited.get("PACKAGE_INDEX_URL"):
        result |= {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index}
    return result


def _runs(environment: Path) -> bool:
    """Tell whether the environment's Python runs: the Python that it was made from may be gone."""
    try:
        return subprocess.run([str(python_of(environment)), "-c", ""], check=False).returncode == 0
    except OSError:
        return False


def _must(command: list[str], what: str) -> None:
    """Run a command, and wait until it ends.

    Raises:
        AttachError: It failed; its own output is on the terminal.
    """
    if subprocess.run(command, env=own_environment(os.environ), check=False).returncode:
        raise AttachError(f"{what} failed; see the last lines above")
