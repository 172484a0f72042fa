"""Text of others, shown on a terminal that obeys none of it."""

import pytest

from yeedu_worker.printable import printable


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Größe: 1\t日本 🙂", "Größe: 1\t日本 🙂"),
        ("\x1b[1;38:5:1mred\x1b[m", "red"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb\nc\x00", r"a\rb\nc\x00"),
        ("a\x7f\x08", r"a\x7f\x08"),
        ("evil\u202egnp.exe\u2028", r"evil\u202egnp.exe\u2028"),
        ("\x1b[\x1b[31m2J", r"\x1b[2J"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(line: str, shown: str) -> None:
    assert printable(line) == shown
