"""The page of the published operator's defects: each row names a test, which test_pages.py looks for."""

import re

from tests.pages import text


def rows() -> list[str]:
    return re.findall(r"^\| D\d+ .*$", text("docs/published-operator-defects.md"), re.MULTILINE)


def test_every_defect_has_its_row_with_a_test() -> None:
    assert [row.split("|")[1].strip() for row in rows()] == [f"D{number}" for number in range(1, 41)]
    for row in rows():
        assert re.search(r"`yeedu-operator/tests/\w+\.py::test_\w+`", row), row
