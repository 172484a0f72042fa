"""The package's rooms: what is declared, learned from a clone, planned, applied; imports go only that way."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "yeedu_deployer"
# What each may import besides itself and the modules beside the rooms.
BELOW = {
    "declared": set[str](),
    "inspection": set[str](),
    "planned": {"declared", "inspection"},
    "applied": {"declared", "inspection", "planned"},
}
BESIDE = {"errors", "settings", "server", "state", "report", "status"}


def test_every_room_has_its_place():
    assert {file.parent.name for file in PACKAGE.glob("*/__init__.py")} == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_what_comes_before_it(room):
    for file in (PACKAGE / room).glob("*.py"):
        taken = set(re.findall(r"(?m)^\s*from yeedu_deployer\.(\w+)", file.read_text(encoding="utf-8")))
        assert taken <= {room} | BELOW[room] | BESIDE, file.name
    if room in ("declared", "inspection"):
        assert "yeedu_deployer.server" not in "".join(
            file.read_text(encoding="utf-8") for file in (PACKAGE / room).glob("*.py")
        ), "files are read, and flows imported, without the server"
