"""README.md and docs/: what they tell their reader to type is tried, and what they name is there."""

import ast
import re
from pathlib import Path

import pytest
from prefect.cli._app import _app as prefect_cli

from tests.commands import BY_HAND, ELSEWHERE, EXPECTED
from tests.pages import PAGES, ROOT, blocks, commands, text

TYPED = [(page, command) for page in PAGES for command in commands(page)]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def source_of(file: Path, test: str) -> str:
    """Return the text of one test of a file; empty when there is none of that name."""
    source = file.read_text(encoding="utf-8")
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == test
    ]
    return ast.get_source_segment(source, found[0]) or "" if found else ""


@pytest.mark.parametrize(("page", "command"), TYPED, ids=[f"{page}: {command}" for page, command in TYPED])
def test_command_is_tried_by_a_test_or_says_why_not(page: str, command: str) -> None:
    ways = [command in EXPECTED, command in ELSEWHERE, command in BY_HAND]
    assert sum(ways) == 1, "add it to one of EXPECTED, ELSEWHERE and BY_HAND in tests/commands.py"


def test_nothing_is_tried_that_no_page_says() -> None:
    assert {*EXPECTED, *ELSEWHERE, *BY_HAND} - {command for _, command in TYPED} == set()


@pytest.mark.parametrize(("file", "test", "said"), sorted(set(ELSEWHERE.values())))
def test_test_of_its_own_does_what_the_command_does(file: str, test: str, said: str) -> None:
    assert said in source_of(ROOT / file, test), f"{file}::{test}"


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_a_page_names_exist(page: str) -> None:
    named = re.findall(r"`([\w./-]+\.py)(?:::(test_\w+))?`", text(page))
    tests = {(ROOT / file, name) for file, name in named if file.rpartition("/")[2].startswith("test_")}
    assert {file for file, _ in tests if not file.is_file()} == set()
    assert {name for file, name in tests if name and not source_of(file, name)} == set()


def test_every_guarantee_has_a_test() -> None:
    rows = re.findall(r"(?m)^\| (?!Promise|---)(.*) \|$", text("docs/guarantees.md"))
    assert len(rows) > 50
    for row in rows:
        assert re.search(r"\| `[\w./-]+\.py::test_\w+`", row), row


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"`make ([a-z][a-z0-9-]*)", text(page)))
    assert {target for target in named if not re.search(rf"(?m)^{target}:", MAKEFILE)} == set()


GONE = "orion start|auth login|agent start|register|deployment build|deployment apply|deployment set-schedule"
KEPT = "profile ls|config set|block register|deployment run|deployment schedule create|deploy|version"


@pytest.mark.parametrize("command", [*GONE.split("|"), *KEPT.split("|")])
def test_command_of_an_older_guide_is_gone_or_there_as_its_page_says(command: str) -> None:
    assert f"`prefect {command}" in text("docs/coming-from.md")
    known, _, unknown = prefect_cli.parse_commands(command.split())
    assert bool(unknown) == (command in GONE.split("|")), known


def test_imports_that_take_an_old_ones_place_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "flows"))
    named = re.findall(r"`(from [\w.]+ import [\w, ]+)`", text("docs/coming-from.md"))
    assert len(named) > 5
    for line in named:
        exec(line, {})  # the page's own line is what is tried


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page_is_python(page: str) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)
