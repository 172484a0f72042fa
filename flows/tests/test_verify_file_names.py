"""The flow verify-file-names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verify_file_names import SNAKE_CASE, verify_file_names

ReadLog = Callable[..., list[Any]]


def test_the_sample_files_are_valid(read_log: ReadLog) -> None:
    state = verify_file_names(return_state=True)
    assert state.is_completed()
    assert state.result() == 3
    assert "All 3 file names in flows/content_files are snake_case." in read_log(state)


def test_every_invalid_name_is_listed(read_log: ReadLog, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("good_name.txt", "Bad.txt", "also-bad.txt", "deep/bad name.csv", ".hidden-File"):
        (tmp_path / name).touch()
    state = verify_file_names(str(tmp_path), return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert f"3 of 4 file names in {tmp_path} are not snake_case" in state.message
    for name in ("Bad.txt", "also-bad.txt", "deep/bad name.csv"):
        assert name in state.message
        assert f"not snake_case: {name}" in read_log(state)


def test_a_missing_folder_is_named(prefect_server: str) -> None:
    state = verify_file_names("flows/nowhere", return_state=True)
    assert state.is_failed()
    assert "There is no folder" in (state.message or "")
    assert "/flows/nowhere on this worker" in (state.message or "")


def test_a_folder_without_files_passes_with_a_count_of_none(read_log: ReadLog, tmp_path: Path) -> None:
    state = verify_file_names(str(tmp_path), return_state=True)
    assert state.result() == 0
    assert f"There are no files in {tmp_path}." in read_log(state)


@pytest.mark.parametrize("name", ["a", "report_2026.csv", "archive.tar.gz", "x1_y2_3.txt", "readme"])
def test_snake_case_names_pass(name: str) -> None:
    assert SNAKE_CASE.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        "Report.csv",
        "two words.txt",
        "kebab-case.md",
        "_private.py",
        "a__b.txt",
        "end_.txt",
        "1st.txt",
        "a.CSV",
        "ä.txt",
        "a\n",
    ],
)
def test_other_names_do_not_pass(name: str) -> None:
    assert not SNAKE_CASE.fullmatch(name)
