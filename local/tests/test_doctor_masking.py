"""What `make doctor` masks, by value and by looks, and that it takes no time to speak of."""

import time

import pytest

from local.doctor.masking import Masker

MANY = 1 << 18


@pytest.mark.parametrize(
    "piece",
    [
        *("0123456789abcdef", "a", "-", " ", "\\", "token", "password-", "token ", "token \\", "-eyJabcde"),
        *(
            "eyJ-",
            "eyJabcde.",
            "://",
            "://a",
            "basic ",
            "-----BEGIN ",
            "-----BEGIN RSA PRIVATE KEY",
            "x=",
            "gho_",
        ),
        *("password='", "password='\\", "pwd: a", 'secret"', "secret" + " " * 9, "api_key" * 9, "eyJabcde-"),
    ],
)
def test_a_word_without_end_is_masked_in_no_time(piece: str) -> None:
    text = piece * (MANY // len(piece))
    began = time.process_time()
    Masker(["a-secret-of-the-tests"]).masked(text)
    assert time.process_time() - began < 5


def test_a_megabyte_of_hexadecimal_digits_is_masked_in_no_time() -> None:
    began = time.process_time()
    assert Masker(["a-secret-of-the-tests"]).masked("0123456789abcdef" * (1 << 16)).startswith("0123")
    assert time.process_time() - began < 5
