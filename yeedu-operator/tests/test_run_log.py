"""The run's log at three in the morning: what happened, where to look, and nothing else."""

import logging

import pytest
from scripted_yeedu import ScriptedYeedu
from watched_run import WatchedRun, state

from prefect_yeedu.flow_run import run_logging
from prefect_yeedu.flow_run.run_logging import RunLogListener
from prefect_yeedu.models import CellResult, Output


class Time:
    """Stands for the module `time`, as far as the listener looks at it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Time:
    now = Time()
    monkeypatch.setattr(run_logging, "time", now)
    return now


@pytest.fixture
def listener(now: Time) -> RunLogListener:
    return RunLogListener(logging.getLogger("prefect_yeedu.test"))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "prefect_yeedu.test")
    return caplog


def stream(text: str, name: str = "stdout") -> Output:
    return Output("stream", name, {"text/plain": text})


def test_a_cell_is_one_line_at_its_end(listener: RunLogListener, log: pytest.LogCaptureFixture) -> None:
    for index in (1, 2):
        listener.on_cell_started(index, 2)
        listener.on_wait()
        listener.on_cell_finished(CellResult(index, "ok" if index == 1 else "error", duration_seconds=2.345))
    assert log.messages == ["Cell 1 of 2 is done after 2.3 s.", "Cell 2 of 2 has failed after 2.3 s."]


def test_a_cell_that_takes_long_is_said_to_be_running_once(
    listener: RunLogListener, now: Time, log: pytest.LogCaptureFixture
) -> None:
    listener.on_cell_started(3, 7)
    for _ in range(3600):
        now.seconds += 1
        listener.on_wait()
    listener.on_cell_finished(CellResult(3, "ok", duration_seconds=3600))
    assert log.messages == ["Cell 3 of 7 is still running after 61 s.", "Cell 3 of 7 is done after 3600.0 s."]


def test_outputs_come_as_they_are_printed(listener: RunLogListener, log: pytest.LogCaptureFixture) -> None:
    listener.on_cell_started(1, 1)
    listener.on_output(1, stream("one\ntw"))
    assert log.messages == ["[cell 1] one"]
    listener.on_output(1, stream("o\r\n\nthree"))
    listener.on_output(1, stream("warning\n", "stderr"))
    listener.on_cell_finished(CellResult(1, "ok", duration_seconds=0.1))
    assert log.messages[1:5] == [
        "[cell 1] two",
        "[cell 1] ",
        "[cell 1 stderr] warning",
        "[cell 1] three",
    ]


def test_an_hour_of_a_progress_bar_shows_every_ten_seconds(
    listener: RunLogListener, now: Time, log: pytest.LogCaptureFixture
) -> None:
    listener.on_cell_started(1, 1)
    for step in range(3600):
        listener.on_output(1, stream(f"\r{step / 36:5.1f} % of the rows are done", "stderr"))
        now.seconds += 1
        listener.on_wait()
    listener.on_cell_finished(CellResult(1, "ok", duration_seconds=3600))
    shown = [message for message in log.messages if "of the rows" in message]
    assert 355 <= len(shown) <= 361
    assert shown[0] in {f"[cell 1 stderr]   0.{tenth} % of the rows are done" for tenth in "23"}
    assert shown[-1] == "[cell 1 stderr] 100.0 % of the rows are done"
    assert not any("\r" in message for message in log.messages)


def test_a_progress_bar_that_stands_still_is_not_repeated(
    listener: RunLogListener, now: Time, log: pytest.LogCaptureFixture
) -> None:
    listener.on_output(1, stream("50 %\r"))
    for _ in range(100):
        now.seconds += 1
        listener.on_wait()
    listener.on_cell_finished(CellResult(1, "ok"))
    assert log.messages[:1] == ["[cell 1] 50 %"]
    assert len(log.messages) == 2


def test_a_stream_without_line_breaks_is_not_kept_for_ever(
    listener: RunLogListener, log: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        listener.on_output(1, stream("x" * 1000))
    listener.on_cell_finished(CellResult(1, "ok"))
    lines = [message for message in log.messages if message.startswith("[cell 1] x")]
    assert sum(line.count("x") for line in lines) == 1_000_000
    assert len(lines) > 20


def test_a_job_that_prints_without_end_does_not_fill_prefect(
    yeedu: ScriptedYeedu, log: pytest.LogCaptureFixture
) -> None:
    watched = WatchedRun(yeedu)
    watched.listener = RunLogListener(logging.getLogger("prefect_yeedu.test"))  # pyright: ignore[reportAttributeAccessIssue]
    watched.states(state("DONE"))
    yeedu.on("GET", "workspace/1/spark/job/run/9/log/stdout", (200, b"x\n" * 500))
    run = watched.run(max_log_lines=100)
    run.listener.on_submitted(run, is_new=True)
    result = run.wait()
    run.api.client.close()
    assert log.messages.count("[stdout] x") == 100
    assert log.messages[-1] == (
        f"No more of what the run prints is passed on here; the rest is in its result and at {run.url}."
    )
    assert result.stdout.count("x") == 500


def test_a_job_is_a_link_its_states_and_what_it_prints(
    yeedu: ScriptedYeedu, log: pytest.LogCaptureFixture
) -> None:
    watched = WatchedRun(yeedu)
    watched.listener = RunLogListener(logging.getLogger("prefect_yeedu.test"))  # pyright: ignore[reportAttributeAccessIssue]
    watched.states(state("QUEUED"), state("RUNNING"), state("RUNNING"), (503, {}), state("DONE"))
    yeedu.on("GET", "workspace/1/spark/job/run/9/log/stdout", (200, b"10 %\r100 %\n"))
    run = watched.run()
    run.listener.on_submitted(run, is_new=True)
    run.wait()
    run.api.client.close()
    assert [(record.levelname, record.message.partition(". Yeedu at")[0]) for record in log.records] == [
        ("INFO", f"Yeedu job run 9 submitted: {run.url}"),
        ("WARNING", "Yeedu job run 9 is QUEUED (a state that this version does not know)."),
        ("INFO", "[stdout] 100 %"),
        ("INFO", "Yeedu job run 9 is RUNNING."),
        ("WARNING", "Waiting for Yeedu to tell about run 9 again, which may go on"),
        ("WARNING", "Yeedu tells about run 9 again."),
        ("INFO", "Yeedu job run 9 is DONE."),
    ]


def test_an_output_that_is_too_long_says_so(listener: RunLogListener, log: pytest.LogCaptureFixture) -> None:
    listener.on_output(1, Output("execute_result", data={"text/plain": "x" * 123_456}))
    assert log.messages[0].endswith("xxx\n[23,456 more characters]")


def test_a_stop_of_our_own_is_one_line(yeedu: ScriptedYeedu, log: pytest.LogCaptureFixture) -> None:
    watched = WatchedRun(yeedu)
    watched.listener = RunLogListener(logging.getLogger("prefect_yeedu.test"))  # pyright: ignore[reportAttributeAccessIssue]
    watched.states(state("STOPPING"), state("STOPPING"), state("STOPPED"))
    run = watched.run()
    assert run.stop()
    run.api.client.close()
    assert [(record.levelname, record.message) for record in log.records] == [
        ("INFO", "Yeedu job run 9 is STOPPED.")
    ]
