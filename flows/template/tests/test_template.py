"""Tests of the flow template."""

import pytest

import template
from scripts.template_steps import count_words


def test_the_most_frequent_word_comes_first() -> None:
    assert list(count_words("a b B").items()) == [("b", 2), ("a", 1)]


def test_a_text_without_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no word"):
        count_words(" ")


def test_the_flow_returns_the_counts(prefect_server: str) -> None:
    run = template.template
    assert run("to be or not to be") == {"to": 2, "be": 2, "or": 1, "not": 1}


def test_a_failed_run_says_why(prefect_server: str) -> None:
    run = template.template
    state = run("", return_state=True)
    assert state.is_failed()
    assert "holds no word" in (state.message or "")
