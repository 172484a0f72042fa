"""What ``make up`` says of the first Yeedu run, and how it leaves."""

from datetime import timedelta

import pytest

from local.api import FlowRun, PrefectApi
from local.console import Console
from local.settings.platform import Settings
from local.status import first_run


def outcome(
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    *,
    ended_seconds_after_start: float,
    worker_seconds_after_start: float = 5,
) -> int:
    console = Console()
    ended_at = console.began_at + timedelta(seconds=ended_seconds_after_start)
    run = FlowRun("id", "name", "run-yeedu-job", state.upper(), state, "the reason", ended_at)

    def over(*_: object) -> FlowRun:
        return run

    monkeypatch.setattr(first_run, "await_first_run", over)
    settings = Settings({})
    worker_since = console.began_at + timedelta(seconds=worker_seconds_after_start)
    return first_run.report_first_run(PrefectApi("http://unused"), settings, console, worker_since)


def test_completed_first_run_is_a_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(monkeypatch, "Completed", ended_seconds_after_start=9) == 0
    assert "First Yeedu run  Completed  http://localhost:8080/runs/flow-run/id" in capsys.readouterr().out


def test_failed_first_run_is_a_failure_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(monkeypatch, "Failed", ended_seconds_after_start=9) == 1
    assert "the reason" in capsys.readouterr().out


def test_failure_of_an_earlier_life_does_not_fail_this_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(monkeypatch, "Failed", ended_seconds_after_start=-60) == 0
    assert "Last Yeedu run   Failed" in capsys.readouterr().out


@pytest.mark.parametrize(("worker_seconds_after_start", "code"), [(10, 0), (-3600, 1)])
def test_failure_on_the_worker_before_does_not_fail_this_start(
    monkeypatch: pytest.MonkeyPatch, worker_seconds_after_start: float, code: int
) -> None:
    """A tick in the middle of `make up` runs with the settings that are just being replaced."""
    ended = outcome(
        monkeypatch,
        "Failed",
        ended_seconds_after_start=9,
        worker_seconds_after_start=worker_seconds_after_start,
    )
    assert ended == code
