"""The built packages, installed where nothing is but what they ask for."""

import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1]
UV = str(Path(sys.executable).with_name("uv"))
REPORT = """
import importlib.metadata, importlib.util, prefect_yeedu
print(prefect_yeedu.__file__)
print([point.value for point in importlib.metadata.entry_points(group="prefect.collections")])
strangers = ("yeedu_mock", "pytest", "hooks", "operators", "rel")
print([name for name in strangers if importlib.util.find_spec(name)])
"""
GUIDE = """
import operators.yeedu, prefect_yeedu
print(operators.yeedu.__file__)
print(operators.yeedu.YeeduOperator is prefect_yeedu.YeeduOperator)
"""


def uv(*arguments: str | Path) -> None:
    subprocess.run([UV, *arguments, "--offline", "--quiet"], check=True, timeout=100)


def built(project: Path, name: str, folder: Path) -> Path:
    """Build the sdist, and from that the wheel, of a copy that holds nothing but what is committed."""
    source = folder / "source"
    source.mkdir()
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(project / file, source)
    shutil.copytree(project / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    uv("build", source, "--out-dir", folder)
    assert list(folder.glob(f"{name}-*.tar.gz"))
    [path] = folder.glob(f"{name}-*-py3-none-any.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(PROJECT, "prefect_yeedu", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def guide_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(PROJECT / "guide", "prefect_yeedu_guide", tmp_path_factory.mktemp("guide"))


def top_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
        assert any(name.endswith("/py.typed") for name in archive.namelist())
    return {name for name in top if not name.endswith(".dist-info")}


def requirements_of(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        fields = message_from_string(archive.read(name).decode())
    return [Requirement(text) for text in fields.get_all("Requires-Dist", [])]


def with_their_own(requirements: list[Requirement]) -> set[str]:
    """Return the names of all distributions that requirements bring with them."""
    seen: set[tuple[str, str]] = set()
    waiting = [(one.name, extra) for one in requirements for extra in ("", *one.extras)]
    while waiting:
        name, extra = waiting.pop()
        key = (re.sub(r"[-_.]+", "-", name).lower(), extra)
        if key in seen:
            continue
        seen.add(key)
        for needed in map(Requirement, metadata.requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, further) for further in ("", *needed.extras)]
    return {name for name, _ in seen}


def test_it_asks_for_three_packages_and_brings_one(wheel: Path) -> None:
    assert {one.name for one in requirements_of(wheel)} == {"prefect", "requests", "websocket-client"}
    assert top_of(wheel) == {"prefect_yeedu"}


def test_the_guides_import_path_is_a_distribution_of_its_own(guide_wheel: Path) -> None:
    assert {one.name for one in requirements_of(guide_wheel)} == {"prefect-yeedu"}
    assert top_of(guide_wheel) == {"operators"}


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_it_imports_where_nothing_else_is_installed(wheel: Path, guide_wheel: Path, tmp_path: Path) -> None:
    uv("venv", tmp_path / "venv", "--python", sys.executable)
    python = tmp_path / "venv/bin/python"
    uv("pip", "install", "--no-deps", "--python", python, wheel)
    [packages] = (tmp_path / "venv/lib").glob("python*/site-packages")
    for name in with_their_own(requirements_of(wheel)):
        installed = metadata.distribution(name)
        for top in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(installed.locate_file(top))))
    file, collections, strangers = printed_by(python, REPORT)
    assert Path(file).is_relative_to(packages)
    assert "prefect_yeedu" in collections
    assert strangers == "[]"
    uv("pip", "install", "--no-deps", "--python", python, guide_wheel)
    file, is_the_same = printed_by(python, GUIDE)
    assert Path(file).is_relative_to(packages)
    assert is_the_same == "True"


def printed_by(python: Path, program: str) -> list[str]:
    answer = subprocess.run(
        [python, "-I", "-c", program],
        cwd=python.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()
