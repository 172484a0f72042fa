"""docs/yeedu.md: its examples run, and its tables are those of the code."""

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from mock_yeedu import MockYeedu
from prefect.flows import Flow
from scripted_yeedu import TENANT

import prefect_yeedu
from prefect_yeedu.options import OptionFields, default_of

FILE = Path(__file__).parents[2] / "docs" / "yeedu.md"
PAGE = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
pytestmark = pytest.mark.skipif(not PAGE, reason="the page is not part of the package alone")
EXAMPLES = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE)


def shown(default: object) -> str:
    """Return a default as the page writes it; what is empty leaves its cell empty."""
    if default is None or default == ():
        return ""
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_every_option_has_a_row_with_its_default_and_its_meaning() -> None:
    rows = [
        f"| `{name}` | {shown(default_of(name))} | {field.description.removesuffix('.')} |".replace(
            "|  |", "| |"
        )
        for name, field in OptionFields.model_fields.items()
        if field.description
    ]
    assert "\n".join(["| Option | Default | Meaning |", "| --- | --- | --- |", *rows]) in PAGE


def test_every_error_has_a_row() -> None:
    errors = [
        name
        for name, value in vars(prefect_yeedu).items()
        if inspect.isclass(value) and issubclass(value, prefect_yeedu.YeeduError)
    ]
    assert sorted(re.findall(r"(?m)^\| `(Yeedu\w+)` \|", PAGE)) == sorted(errors)


@pytest.fixture(scope="module")
def _names_of_the_page(mock: MockYeedu) -> None:
    """A notebook with the page's name, which ends as `dbutils.notebook.exit` ends one, with its parameter."""
    cells = ["class CleanExit(Exception): pass", "raise CleanExit(globals().get('day', ''))"]
    mock.control("POST", "notebooks", json={"name": "report", "cells": cells})


@pytest.mark.usefixtures("prefect_server", "_names_of_the_page")
# Prefect's own clients leave sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(
    mock: MockYeedu, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES[number]
    ours = {
        "https://yeedu.example.com:8080": mock.base,
        "TENANT": TENANT,
        "/job/5": "/job/101",
        "/notebook/7": "/notebook/201",
        "job=5": "job=101",
        "submit(5,": "submit(101,",
        "job(5,": "job(101,",
        "YSU0000": "demo",
        "PASSWORD": mock.password,
    }
    for theirs, our in ours.items():
        example = example.replace(theirs, our)
    who = prefect_yeedu.YeeduCredentials(
        host=mock.base,
        tenant=TENANT,
        username="demo",
        password=mock.password,  # pyright: ignore[reportArgumentType]
    )
    who.save("yeedu", overwrite=True)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/yeedu.md", "exec"), names)  # the page's own text is what is tried
    for value in [*names.values()]:
        if isinstance(value, Flow):
            result: Any = value()
            names["result"] = asyncio.run(result) if inspect.iscoroutine(result) else result
    expected = {
        "job_run_flow": lambda: names["result"] is None,
        "nightly": lambda: "Done." in names["result"],
        "load_and_report": lambda: names["result"] == "2026-01-31",
        "side_by_side": lambda: names["result"] == ["DONE", "STOPPED"],
        "client": lambda: "hello" in " ".join(names["names"]).lower(),
        "report": lambda: (tmp_path / "report.ipynb").is_file(),
    }
    [name] = [name for name in expected if name in names]
    assert expected[name]()


def test_a_setting_of_the_page_is_one() -> None:
    assert "outage_seconds" in OptionFields.model_fields
    assert "PREFECT_INTEGRATIONS_YEEDU_OUTAGE_SECONDS" in PAGE
