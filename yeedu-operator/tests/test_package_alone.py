"""The built package, installed where nothing is but what it asks for."""

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
import importlib.metadata, importlib.util, operators.yeedu, prefect_yeedu
print(operators.yeedu.__file__, prefect_yeedu.__file__)
print([point.value for point in importlib.metadata.entry_points(group="prefect.collections")])
print([name for name in ("yeedu_mock", "pytest", "hooks", "rel") if importlib.util.find_spec(name)])
"""


def uv(*arguments: str | Path) -> None:
    subprocess.run([UV, *arguments, "--offline", "--quiet"], check=True, timeout=100)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and from that the wheel, of a copy that holds nothing but what is committed."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PROJECT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    uv("build", source, "--out-dir", folder)
    assert list(folder.glob("yeedu_prefect_operator-*.tar.gz"))
    [path] = folder.glob("yeedu_prefect_operator-*-py3-none-any.whl")
    return path


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


def test_it_asks_for_three_packages_and_brings_two(wheel: Path) -> None:
    assert {one.name for one in requirements_of(wheel)} == {"prefect", "requests", "websocket-client"}
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
        assert "prefect_yeedu/py.typed" in archive.namelist()
    assert {name for name in top if not name.endswith(".dist-info")} == {"operators", "prefect_yeedu"}


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_it_imports_where_nothing_else_is_installed(wheel: Path, tmp_path: Path) -> None:
    uv("venv", tmp_path / "venv", "--python", sys.executable)
    python = tmp_path / "venv/bin/python"
    uv("pip", "install", "--no-deps", "--python", python, wheel)
    [packages] = (tmp_path / "venv/lib").glob("python*/site-packages")
    for name in with_their_own(requirements_of(wheel)):
        installed = metadata.distribution(name)
        for top in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(installed.locate_file(top))))
    answer = subprocess.run(
        [python, "-I", "-c", REPORT], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert answer.returncode == 0, answer.stderr
    files, collections, strangers = answer.stdout.splitlines()
    assert all(Path(file).is_relative_to(packages) for file in files.split())
    assert "prefect_yeedu" in collections
    assert strangers == "[]"
