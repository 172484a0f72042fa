"""docs/architecture.md shows the house as it is: its services, volumes and folders, and what imports what."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import yaml

from tests.pages import ROOT, text

PAGE = text("docs/architecture.md")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
FILES = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
SOURCES = [name for name in FILES if name.endswith(".py") and "tests" not in PurePosixPath(name).parts]
FOLDERS = sorted({f"{name.partition('/')[0]}/" for name in FILES if "/" in name})
# Names by which a folder's modules are imported elsewhere.
PACKAGES = {
    "attach": "worker",
    "contract": "yeedu-operator",
    "operators": "yeedu-operator",
    "prefect_yeedu": "yeedu-operator",
    "yeedu_deployer": "deployer",
    "yeedu_mock": "yeedu-mock",
    "yeedu_rescue": "rescue",
    "yeedu_worker": "worker",
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    [section] = re.findall(rf"(?ms)^## {heading}$(.*?)(?=^## |\Z)", PAGE)
    return [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"(?m)^\|.*\|$", section)[2:]
    ]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_service_has_its_row() -> None:
    named = [name for row in rows("The parts, and who calls whom") for name in names(row[0])]
    assert sorted(named) == sorted(COMPOSE["services"])


def test_every_volume_has_its_owner() -> None:
    named = {name for row in rows("State, and who may write it") for name in names(row[1])}
    assert set(COMPOSE["volumes"]) <= named


def test_every_folder_has_its_row() -> None:
    named = [name for row in rows("Folders") for name in names(row[0])]
    assert sorted(named) == FOLDERS


@pytest.mark.parametrize("row", rows("Where to find it"), ids=lambda row: row[0])
def test_what_happens_is_found_where_its_row_says(row: list[str]) -> None:
    [file], [function] = names(row[1]), names(row[2])
    assert file in FILES
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert function in {node.name for node in functions}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


@pytest.mark.parametrize("row", rows("Folders"), ids=lambda row: row[0])
def test_a_folder_takes_what_its_row_says_from_the_others(row: list[str]) -> None:
    folders = {name.removesuffix("/") for name in names(row[0])}
    if folders & {"flows", "tests", "bench"}:
        return  # flows have what their worker has, and tests everything
    modules = [name for name in SOURCES if PurePosixPath(name).parts[0] in folders]
    taken = {package for name in modules for package in imports(ROOT / name) if package in PACKAGES}
    assert sorted(package for package in taken if PACKAGES[package] not in folders) == sorted(names(row[2]))


def test_the_hosts_commands_and_rescue_need_python_alone() -> None:
    """`make` runs before anything is installed."""
    for name in SOURCES:
        # What the doctor runs inside of a service has what that one has.
        if name.startswith(("local/", "rescue/src/")) and not name.startswith("local/doctor/inside/"):
            assert set(imports(ROOT / name)) - sys.stdlib_module_names <= {
                "local",
                "attach",
                "yeedu_rescue",
            }, name


def test_every_folder_of_tests_is_on_the_map_of_contributing() -> None:
    [section] = re.findall(r"(?ms)^## The tests$(.*?)^## ", text("CONTRIBUTING.md"))
    named = {
        name
        for row in re.findall(r"(?m)^\| (`[^|]*/tests[^|]*|`tests/[^|]*)\|", section)
        for name in names(row)
    }
    tests = {str(PurePosixPath(name).parent) for name in FILES if PurePosixPath(name).match("test_*.py")}
    assert {folder for folder in tests if not folder.startswith("flows/")} | {"flows/tests"} == named
