"""The package by itself: what it needs is declared, and pytest finds its fixtures."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
MODULES = {"pyzmq": "zmq"}
IN_A_CHILD = {"ipykernel", "websockets"}  # the kernel's process, and what uvicorn is told to take


def imported() -> set[str]:
    found: set[str] = set()
    for file in (PACKAGE / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"yeedu_mock", "__future__"}


def test_what_is_imported_is_declared_and_what_is_declared_imported():
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert {MODULES.get(name, name.replace("-", "_")) for name in names} - IN_A_CHILD == imported() - {
        "pytest"
    }
    assert [re.match(r"[\w-]+", line)[0] for line in project["optional-dependencies"]["pytest"]] == ["pytest"]


def test_pytest_finds_the_fixtures_without_an_import(tmp_path):
    assert [one.value for one in entry_points(group="pytest11") if one.name == "yeedu-mock"] == [
        "yeedu_mock.pytest_plugin"
    ]
    (tmp_path / "test_it.py").write_text(
        "import urllib.request\n"
        "def test_it(yeedu_mock):\n"
        "    assert urllib.request.urlopen(yeedu_mock.health_url).status == 200\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    loaded = "import sys, yeedu_mock.pytest_plugin; print('fastapi' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "False"
