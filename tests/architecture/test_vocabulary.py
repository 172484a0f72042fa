"""The last column of docs/vocabulary.md names no module, class, function, argument or constant."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.test_house import ROOT, SOURCES, name_of

PAGE = (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8")
AVOIDED = {
    word.strip()
    for cell in re.findall(r"(?m)^\| [^|]+ \| [^|]+ \| (.+) \|$", PAGE)[1:]
    for word in cell.split(",")
    if word.strip(" -")
}
PACKAGES = (
    "deployer",
    "docs",
    "git-server",
    "local",
    "proxy",
    "rescue",
    "server",
    "worker",
    "yeedu-mock",
    "yeedu-operator",
)
# By a library's word, and by the name of an option or a module that others use.
ALLOWED = {
    "family": {"local/ports.py", "server/listeners.py", "yeedu-mock/src/yeedu_mock/server.py"},
    "patience": {
        "worker/src/yeedu_worker/patches/patience.py",
        "yeedu-operator/src/prefect_yeedu/options.py",
        "yeedu-operator/src/prefect_yeedu/runs/wait_options.py",
    },
}


def names_in(file: Path) -> Iterator[str]:
    """Yield the file's own name, and those that it gives to classes, functions, arguments and constants."""
    yield file.stem
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id.isupper():
            yield node.id


def words_of(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_code_is_named_by_the_words_of_the_vocabulary() -> None:
    assert {"knob", "family", "patience"} <= AVOIDED
    found = {
        (name_of(file), name)
        for file in SOURCES
        if file.relative_to(ROOT).parts[0] in PACKAGES
        for name in names_in(file)
        for word in words_of(name) & AVOIDED
        if name_of(file) not in ALLOWED.get(word, set())
    }
    assert sorted(found) == []
