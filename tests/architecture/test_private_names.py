"""What is private in Prefect is named in one package of the worker's, and in one module of the server's."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY = ("worker/src/yeedu_worker/patches/", "server/patches.py")
SOURCES = [
    name
    for name in subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"], cwd=ROOT, text=True
    ).splitlines()
    if (ROOT / name).is_file() and "tests" not in Path(name).parts
]
RELEASE = re.search(r"(?m)^prefect==(\S+)", (ROOT / "requirements" / "constraints.in").read_text())
# A module, or a name of a module, as it is written in a text that is imported.
IN_TEXT = re.compile(r"prefect[.:][\w.:]+")


def private_names(code: str) -> Iterator[str]:
    """Yield the private names of Prefect's that code imports, looks up there, or has as text."""
    tree = ast.parse(code)
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "prefect":
                    imported.add(alias.asname or "prefect")
                    yield from _if_private(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "prefect":
            for alias in node.names:
                imported.add(alias.asname or alias.name)
                yield from _if_private(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and IN_TEXT.fullmatch(node.value):
            yield from _if_private(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            named = ast.unparse(node)
            if named.partition(".")[0] in imported:
                yield named


def _if_private(path: str) -> Iterator[str]:
    if any(part.startswith("_") and not part.startswith("__") for part in re.split(r"[.:]", path)):
        yield path


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import prefect._internal.pytz", "prefect._internal.pytz"),
        ("def f():\n    from prefect.runner import _event_emitter", "prefect.runner._event_emitter"),
        (
            "from prefect.runner._event_emitter import EventEmitter",
            "prefect.runner._event_emitter.EventEmitter",
        ),
        ("from prefect import flow_engine as engine\nengine._send()", "engine._send"),
        ("import prefect\nprefect.context._x", "prefect.context._x"),
        ("LATER = ('prefect._vendor.croniter',)", "prefect._vendor.croniter"),
        ("Place('prefect.flow_engine:Engine._beat')", "prefect.flow_engine:Engine._beat"),
    ],
)
def test_private_name_is_found_however_it_is_written(code: str, name: str) -> None:
    assert list(private_names(code)) == [name]


def test_public_names_are_none() -> None:
    code = "from prefect import __version__\nimport prefect\nself._x\n'prefect-yeedu'\nprefect.__version__"
    assert list(private_names(code)) == []


def test_private_names_are_where_patches_are_declared_and_nowhere_else() -> None:
    found = {name: list(private_names((ROOT / name).read_text(encoding="utf-8"))) for name in SOURCES}
    assert {name: names for name, names in found.items() if names and not name.startswith(MAY)} == {}
    assert any(names for name, names in found.items() if name.startswith(MAY[0]))


@pytest.mark.parametrize("package", ["worker", "deployer", "yeedu-operator"])
def test_no_package_allows_a_prefect_beyond_the_newest_known(package: str) -> None:
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [needed] = [one for one in project["dependencies"] if re.match(r"prefect[=<>]", one)]
    assert RELEASE
    assert re.search(rf"[<=]={re.escape(RELEASE[1])}$", needed), needed
