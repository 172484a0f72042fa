"""What a missing package is answered with, and where a run's log says it."""

import logging
import re
from pathlib import Path

import pytest

from yeedu_worker.missing_package import EXTRAS, advice, advise_in_log

ROOT = Path(__file__).parents[2]
LISTED = (
    "if it is a package, add it to flows/requirements.txt, then `make lock` and `make up` (docs/packages.md)"
)


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_package_is_to_be_listed(tmp_path: Path) -> None:
    assert advice(missing("cowsay.main"), tmp_path) == LISTED


def test_package_of_an_extra_is_to_be_had_by_its_name(tmp_path: Path) -> None:
    assert advice(missing("pandas"), tmp_path).startswith("set WORKER_EXTRAS=etl in .env, or add it to ")


def test_part_of_a_module_of_the_flows_own_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "lake.py").touch()
    assert advice(missing("lake.deep"), tmp_path) == ""
    assert advice(missing("lake.deep"), tmp_path / "elsewhere") == LISTED


@pytest.mark.parametrize(
    "error", [ImportError("cannot import name 'x'"), ModuleNotFoundError("x"), KeyError("x")]
)
def test_other_errors_get_no_advice(error: Exception, tmp_path: Path) -> None:
    assert advice(error, tmp_path) == ""


def test_error_behind_the_error_counts(tmp_path: Path) -> None:
    outer = RuntimeError("the script failed")
    outer.__cause__ = missing("cowsay")
    outer.__cause__.__context__ = outer  # a chain may bite its tail
    assert advice(outer, tmp_path) == LISTED


def test_an_error_that_only_came_while_another_one_was_handled_gets_no_advice(tmp_path: Path) -> None:
    later = ValueError("something else")
    later.__context__ = missing("cowsay")
    assert advice(later, tmp_path) == ""


def test_advice_that_the_error_gives_itself_is_not_given_again(tmp_path: Path) -> None:
    error = RuntimeError("reading it needs pyarrow: set WORKER_EXTRAS=etl, see docs/packages.md.")
    error.__cause__ = missing("pyarrow")
    assert advice(error, tmp_path) == ""


def test_table_is_that_of_the_extra() -> None:
    text = (ROOT / "requirements" / "extras" / "etl.in").read_text(encoding="utf-8")
    listed = re.findall(r"(?m)^([a-z][a-z-]*)", text)
    assert EXTRAS["etl"] == tuple(sorted(name.replace("-", "_") for name in listed))


def test_log_line_about_a_missing_package_ends_with_what_to_do(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("missing-package-test")
    advise_in_log(logger.name)
    for error in (missing("cowsay"), KeyError("x")):
        logger.error("cannot load the flow", exc_info=error)
    assert [record.message for record in caplog.records] == [
        f"cannot load the flow; {LISTED}",
        "cannot load the flow",
    ]
