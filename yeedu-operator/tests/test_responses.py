"""What is read of Yeedu's answers, whatever form a value has."""

import pytest

from prefect_yeedu.wire.responses import number_of


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        ("7", 7),
        ("9" * 18, 10**18 - 1),
        ("12345678901234567890", None),
        ("\u0667", None),
        ("-7", None),
        (0, None),
        ("0", None),
        (True, None),
        (1.0, None),
        (None, None),
    ],
)
def test_a_number_is_a_positive_whole_one(value: object, number: int | None) -> None:
    assert number_of({"n": value}, "n") == number
