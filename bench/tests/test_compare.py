"""What two results say of each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.compare import changes, report


def results(**figures: Any) -> dict[str, Any]:
    return {"machine": "two cores", "start": {"this worker": figures}}


@pytest.mark.parametrize(
    ("name", "before", "now", "verdict"),
    [
        ("completed_seconds", [0.70, 0.72, 0.74], [0.90, 0.92, 0.94], "worse"),
        ("completed_seconds", [0.70, 0.72, 0.74], [0.71, 0.73, 0.75], ""),  # less than 5 %
        ("completed_seconds", [0.5, 0.7, 0.9], [0.7, 0.8, 0.9], ""),  # within the spread of the first
        ("completed_seconds", [0.90, 0.92, 0.94], [0.70, 0.72, 0.74], "better"),
        ("runs_per_minute", [118, 119, 120], [90, 91, 92], "worse"),
        ("runs_per_minute", [90, 91, 92], [118, 119, 120], "better"),
        ("first_yeedu_run_seconds", 19.0, 22.0, ""),  # one number: a sixth of it is noise
        ("first_yeedu_run_seconds", 19.0, 23.0, "worse"),
        ("core_percent", 0.2, 0.9, ""),  # more than four times as much of next to nothing
        ("lost", 0, 1, "worse"),
        ("ticks_per_minute", 10, 20, None),
    ],
)
def test_a_figure_is_worse_or_better_by_more_than_its_noise(
    name: str, before: Any, now: Any, verdict: str | None
) -> None:
    found = changes(results(**{name: before}), results(**{name: now}))
    if verdict is None:
        assert found == []
        return
    [change] = found
    assert change.name == f"start: this worker: {name}"
    assert (change.is_worse, change.is_better) == (verdict == "worse", verdict == "better")


def test_what_only_one_of_them_has_is_left_out() -> None:
    assert changes(results(old=1.0), results(new=1.0)) == []


def test_the_worst_comes_first_and_another_machine_is_said() -> None:
    before = results(running_seconds=[1.0, 1.0], completed_seconds=[1.0, 1.0], cpu_seconds=[1.0, 1.0])
    now = results(running_seconds=[1.2, 1.2], completed_seconds=[2.0, 2.0], cpu_seconds=[0.5, 0.5])
    text = report(before, {**now, "machine": "four cores"}).splitlines()
    assert text[:2] == [
        "3 figures compared; 3 differ by more than their noise.",
        "Two machines: two cores, and now four cores.",
    ]
    assert [line.split(" | ")[0].rpartition(": ")[2] for line in text[5:]] == [
        "completed_seconds",
        "running_seconds",
        "cpu_seconds",
    ]


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (None, "{", "[]"):
        file = tmp_path / "earlier.json"
        if content is not None:
            file.write_text(content)
        monkeypatch.setattr("sys.argv", ["bench", "--compare", str(file)])
        with pytest.raises(SystemExit, match=f"bench: {file} "):
            main()


def test_results_are_compared_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier, later = tmp_path / "earlier.json", tmp_path / "results.json"
    earlier.write_text(json.dumps(results(completed_seconds=[0.7, 0.7])))
    later.write_text(json.dumps(results(completed_seconds=[1.4, 1.4])))
    monkeypatch.setattr("bench.__main__.RESULTS", later)
    monkeypatch.setattr("sys.argv", ["bench", "--compare", str(earlier)])
    main()
    assert "| start: this worker: completed_seconds | 0.7 | 1.4 |" in capsys.readouterr().out
