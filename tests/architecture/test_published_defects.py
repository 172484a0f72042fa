"""The page of the published operator's defects: each row names tests that exist."""

import re

import pytest

from tests.pages import ROOT, text


def rows() -> list[str]:
    return re.findall(r"^\| D\d+ .*$", text("docs/published-operator-defects.md"), re.MULTILINE)


def test_every_defect_has_its_row_with_a_test() -> None:
    assert [row.split("|")[1].strip() for row in rows()] == [f"D{number}" for number in range(1, 41)]
    for row in rows():
        assert re.search(r"`yeedu-operator/tests/\w+\.py::test_\w+`", row), row


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip())
def test_the_tests_of_a_row_exist(row: str) -> None:
    for path, name in re.findall(r"`([\w/-]+\.py)::(\w+)`", row):
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", source, re.MULTILINE), f"{path}::{name}"
