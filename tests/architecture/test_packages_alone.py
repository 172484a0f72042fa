"""Packages that others may take out of this repository: their tests run in their folder, without the rest."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.built_once import built_once
from tests.environments import EnvironmentUnavailableError, give_up, uv
from tests.pages import ROOT

HOUSE = ("pyproject.toml", "conftest.py")  # pytest's settings, and which tests a machine cannot run
SOME = {
    "yeedu-operator": ("test_urls.py", "test_with_mock.py", "-k", "address or hello_job"),
    "yeedu-mock": ("test_login.py",),
}


def copy_of(package: str, folder: Path) -> Path:
    """Copy what is under version control of a package, and of the house what stands above it."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", package]
    for name in (*HOUSE, *subprocess.check_output(listed, cwd=ROOT, text=True).splitlines()):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder / package


def install(package: str, environment: Path) -> str:
    """Install a package and its group `dev`, nothing else, and return the environment's Python."""
    python = str(environment / "bin" / "python")
    if not Path(python).exists():
        uv("venv", "--python", "3.11", str(environment))
    project = ROOT / package
    uv(
        *("pip", "install", "--python", python, "--constraints", str(ROOT / "requirements" / "dev.txt")),
        *("--editable", str(project), "--group", f"{project / 'pyproject.toml'}:dev"),
    )
    return python


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("package", SOME)
def test_tests_of_a_package_run_in_its_folder_with_what_it_declares(package: str, tmp_path: Path) -> None:
    declared = "".join(
        file.read_text(encoding="utf-8") for file in sorted(ROOT.glob("yeedu-*/pyproject.toml"))
    )
    key = hashlib.sha256(f"{ROOT} {declared}".encode()).hexdigest()[:12]
    folder = copy_of(package, tmp_path)
    with built_once(f"environments/{package}-alone-{key}") as environment:
        try:
            python = install(package, environment)
        except EnvironmentUnavailableError as error:
            give_up(package, error)

        def tested(*arguments: str) -> str:
            command = [python, "-m", "pytest", "-q", "--numprocesses=0", *arguments]
            ended = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=500, check=False
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            return ended.stdout

        files = {file.name for file in (folder / "tests").glob("test_*.py")}
        collected = tested("--collect-only")
        assert {name for name in files if f"/{name}::" in collected} == files
        some = [f"tests/{one}" if one.endswith(".py") else one for one in SOME[package]]
        assert " passed" in tested("--verbosity=1", *some)
