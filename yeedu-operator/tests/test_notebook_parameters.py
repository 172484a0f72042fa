"""Parameters become a cell, and what it says is what was given."""

import math
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_yeedu.client.connection import Connection
from prefect_yeedu.client.login import Credentials
from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.flow_run.calls import YeeduCall
from prefect_yeedu.flow_run.run_record import ArtifactLedger
from prefect_yeedu.runs.record import Ledger
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.urls import parse_url
from prefect_yeedu.wire.notebook_document import NotebookDocument
from prefect_yeedu.wire.notebook_parameters import parameters_code

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def cell(source: str, *tags: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}, "outputs": []}


def sources(*cells: dict[str, Any], **parameters: Any) -> list[str]:
    document = NotebookDocument({"cells": list(cells)}, "Python3", parameters=parameters)
    return [one.source for one in document.cells]


@given(VALUES)
def test_python_code_says_the_value(value: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(parameters_code({"x": value}, "Python3"), namespace)
    assert namespace["x"] == value
    assert type(namespace["x"]) is type(value)


def test_what_is_a_kind_of_text_or_number_is_written_as_such() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Level(IntEnum):
        HIGH = 3

    code = parameters_code({"a": Colour.RED, "b": Level.HIGH, "c": (1, 2), "d": math.inf}, None)
    assert code == "# Parameters\na = 'red'\nb = 3\nc = [1, 2]\nd = float(\"inf\")"


def test_scala_has_literals_of_its_own() -> None:
    parameters = {"a": 'x"\n', "b": 2**40, "c": 2**70, "d": True, "e": None, "f": [1.5], "g": {"k": -1}}
    assert parameters_code(parameters, "RAW_SCALA").splitlines() == [
        "// Parameters",
        'val a = "x\\"\\n"',
        "val b = 1099511627776L",
        'val c = BigInt("1180591620717411303424")',
        "val d = true",
        "val e = None",
        "val f = Seq(1.5)",
        'val g = Map("k" -> -1)',
    ]


@pytest.mark.parametrize("language", ["SQL", "R"])
def test_other_languages_have_no_parameters(language: str) -> None:
    with pytest.raises(YeeduConfigurationError, match=f"Python and Scala, and this one is in {language};"):
        parameters_code({"x": 1}, language)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"two words": 1}, "'two words' cannot be a variable's name"),
        ({"class": 1}, "'class' cannot be a variable's name"),
        ({"x": object()}, "'x' holds a value of type object"),
        ({"x": {1: 2}}, "'x' holds a dict with the key 1"),
        ({"x": [b"y"]}, "'x' holds a value of type bytes"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_run(
    parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(YeeduConfigurationError, match=words):
        RunRequest(parameters=parameters)


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(YeeduConfigurationError, match="nested too deeply"):
        RunRequest(parameters={"x": endless})


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(YeeduConfigurationError, match="a limit is more than 0 seconds"):
        RunRequest(cell_timeout_seconds=seconds)


def test_the_cell_goes_after_the_one_with_defaults_else_first() -> None:
    new = "# Parameters\nx = 1"
    assert sources(cell("a"), cell("x = 0", "parameters"), cell("b"), x=1) == ["a", "x = 0", new, "b"]
    assert sources(cell("a"), cell("b"), x=1) == [new, "a", "b"]
    assert sources(cell("a"), cell("x = 5", "injected-parameters"), cell("b"), x=1) == ["a", new, "b"]
    assert sources(cell("a"), cell("x = 5", "injected-parameters")) == ["a", "x = 5"]


@pytest.mark.parametrize("old", [[], [cell("x = 5", "injected-parameters")]])
def test_the_definition_stays_as_it_is(old: list[dict[str, Any]]) -> None:
    document = NotebookDocument({"cells": [cell("a"), *old]}, "Python3", parameters={"x": 1})
    own = document.content(is_copy=False)["cells"]
    assert [one["source"] for one in own] == ["a", *(one["source"] for one in old)]
    copy = document.content(is_copy=True)["cells"]
    assert any(one["source"] == "# Parameters\nx = 1" for one in copy)
    again = NotebookDocument({"cells": copy}, "Python3", parameters={"x": 1})
    assert [one.source for one in again.cells] == [one.source for one in document.cells]


def test_the_first_generation_s_cells_have_their_own_form() -> None:
    definition = {"notebook_cells": {"cells": [{"cell_uuid": "u", "code": "a", "output": []}]}}
    document = NotebookDocument.of_definition(definition, "Python3", {"x": 1})
    assert document is not None
    assert [one.code for one in document.cells] == ["# Parameters\nx = 1", "a"]
    assert document.raw_cells[0]["output"] == []


def test_tags_say_what_is_executed() -> None:
    document = NotebookDocument(
        {
            "cells": [
                cell("a", "skip-execution"),
                cell("b", "raises-exception"),
                {"source": "c", "metadata": 5},
            ]
        }
    )
    assert [one.is_executable for one in document.cells] == [False, True, True]
    assert [one.may_raise for one in document.cells] == [False, True, False]


def test_calls_with_other_parameters_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tasks that run side by side each is to find its own run again."""
    seen: list[str] = []

    def of_this_call(definition: object, *, passed: str, blocks: object) -> Ledger:
        seen.append(passed)
        return Ledger()

    monkeypatch.setattr(ArtifactLedger, "of_this_call", of_this_call)
    url = parse_url("http://localhost/tenant/0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e/workspace/1/notebook/5")
    connection = Connection.to(url, Credentials(token="t" * 20), None)
    for day in (1, 1, 2):
        YeeduCall(connection, url.target, RunRequest(parameters={"day": day})).ledger()
    assert seen[0] == seen[1] != seen[2]
