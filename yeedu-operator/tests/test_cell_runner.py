"""A notebook's cells through a connection that loses things, message by message."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_clock import FakeClock
from scripted_kernel import (
    BUSY,
    IDLE,
    Answer,
    Channel,
    done,
    finding,
    lost,
    message,
    raised,
    reply,
    silence,
    stream,
)
from scripted_yeedu import ScriptedYeedu

from prefect_yeedu.errors import (
    YeeduAuthenticationError,
    YeeduError,
    YeeduKernelDied,
    YeeduKernelError,
    YeeduNotFound,
    YeeduRunCancelled,
    YeeduRunTimedOut,
    YeeduTransportError,
)
from prefect_yeedu.models import RunKind
from prefect_yeedu.retry_policy import Deadline
from prefect_yeedu.runs.cell_runner import CellRunner
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.start import make_run
from prefect_yeedu.wire.kernel_protocol import Execution
from prefect_yeedu.wire.notebook_document import Cell

RUN = "workspace/1/notebook/run/9"
GATEWAY = (503, b"<html>no backend</html>", {"Content-Type": "text/html"})
CELL = Cell(1, "cell", "x = 1", True)
DONE = done(1)

Execute = Callable[..., Execution]


@pytest.fixture
def channel() -> Channel:
    return Channel(FakeClock())


@pytest.fixture
def execute(yeedu: ScriptedYeedu, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Execute one cell on a kernel that answers as the test says; time passes only when nothing comes."""
    yeedu.on("GET", RUN, (200, {"run_status": "RUNNING"}))
    monkeypatch.setattr("prefect_yeedu.runs.kernel_connection.KernelChannel", lambda *_: channel)

    def execute(*answers: list[Answer], **options: Any) -> Execution:
        channel.answers += answers
        with yeedu.client("notebook/5", clock=channel.clock) as client:
            run = make_run(client.api(RunKind.NOTEBOOK), 9, RunRequest(), None)
            runner = CellRunner(run, Deadline.after(channel.clock, 100_000), **options)
            runner.open()
            return runner.execute(CELL)

    return execute


def test_a_reply_that_is_there_before_sending_returns_counts(execute: Execute, channel: Channel) -> None:
    assert (execute(DONE).status, len(channel.sent)) == ("ok", 1)


def test_a_cell_whose_reply_is_lost_is_not_sent_again(execute: Execute, channel: Channel) -> None:
    execution = execute([BUSY, IDLE], finding(2, True))
    assert (execution.status, execution.execution_count) == ("ok", 1)
    assert channel.codes == ["x = 1"]


def test_outputs_that_come_long_after_the_reply_are_kept(execute: Execute, channel: Channel) -> None:
    late = [BUSY, reply(execution_count=1), silence(8), stream("late"), IDLE]
    execution = execute(late, done(1))
    assert [output.text for output in execution.outputs] == ["late"]


def test_outputs_that_come_too_late_to_be_waited_for_are_said_to_be_missing(
    execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(RunListener, "on_trouble", lambda _, text: told.append(text))
    execution = execute([BUSY, reply(execution_count=1), silence(20), stream("too late"), IDLE])
    assert (execution.status, execution.outputs) == ("ok", ())
    [line] = told
    assert line.startswith("Outputs of cell 1 may be missing: the kernel of run 9 replied to it")


def test_an_idle_that_is_lost_is_not_waited_for_once_a_later_request_is_done(
    execute: Execute, channel: Channel
) -> None:
    execution = execute([BUSY, stream("all"), reply(execution_count=1)], [BUSY, reply(), IDLE])
    assert [output.text for output in execution.outputs] == ["all"]
    assert channel.clock.time < 8


@pytest.mark.parametrize(
    "first_answer",
    [
        pytest.param(DONE, id="its output is lost"),
        pytest.param([stream("[2, true]"), BUSY, IDLE], id="its reply is lost"),
        pytest.param([reply("aborted"), IDLE], id="it was queued behind a cell that failed"),
        pytest.param(raised("KeyboardInterrupt"), id="somebody interrupted it"),
        pytest.param([lost()], id="the connection is lost again"),
    ],
)
def test_a_lost_answer_about_the_past_is_asked_for_again(
    execute: Execute, channel: Channel, first_answer: list[Answer]
) -> None:
    execution = execute([lost()], first_answer, finding(2, True))
    assert (execution.status, execution.execution_count) == ("ok", 1)
    assert len(channel.sent) == 3


def test_an_answer_about_the_past_without_outputs_and_idle_is_asked_for_again(
    execute: Execute, channel: Channel
) -> None:
    execution = execute([lost()], [BUSY, reply()], DONE, finding(2, True))
    assert (execution.status, execution.execution_count) == ("ok", 1)
    assert len(channel.sent) == 4


def test_a_long_cell_outlives_any_number_of_connections(execute: Execute, channel: Channel) -> None:
    execution = execute(*[[lost(3600)]] * 20, finding(2, False, "ValueError", "bad"))
    assert (execution.status, execution.ename, execution.evalue) == ("error", "ValueError", "bad")
    assert len(channel.sent) == 21


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(DONE, id="nothing"),
        pytest.param([stream("[]"), *DONE], id="something else"),
        pytest.param([BUSY, IDLE], id="no reply"),
        pytest.param(raised("NameError", "get_ipython"), id="another language"),
    ],
)
def test_a_kernel_that_never_says_what_it_executed_is_an_error(
    execute: Execute, answer: list[Answer]
) -> None:
    with pytest.raises(YeeduKernelError, match="cannot say what it has executed"):
        execute([lost()], *[answer] * 5)


def test_a_cell_outlives_an_hour_without_yeedu(
    execute: Execute, channel: Channel, yeedu: ScriptedYeedu
) -> None:
    def is_away() -> bool:
        return 0 < channel.clock.time < 3600

    channel.refuses = lambda: YeeduTransportError("refused with status 503") if is_away() else None
    yeedu.on("GET", RUN, lambda _: GATEWAY if is_away() else (200, {"run_status": "RUNNING"}))
    execution = execute([lost(5)], finding(2, True))
    assert (execution.status, channel.codes) == ("ok", ["x = 1"])
    assert channel.clock.time > 3600
    assert len(channel.opened_at) < 1000


def test_an_outage_that_is_too_long_says_nothing_about_the_kernel(
    execute: Execute, channel: Channel, yeedu: ScriptedYeedu
) -> None:
    channel.refuses = lambda: YeeduTransportError("no route to host") if channel.clock.time > 1 else None
    yeedu.on("GET", RUN, lambda _: GATEWAY if channel.clock.time > 1 else (200, {"run_status": "RUNNING"}))
    with pytest.raises(YeeduError) as caught:
        execute([lost(5)])
    assert caught.value.is_retryable
    assert 7000 < channel.clock.time < 7400


@pytest.mark.parametrize(
    ("refusal", "words", "after_seconds"),
    [
        (YeeduTransportError("refused with status 500"), "nobody could connect to it within 600", 600),
        (YeeduNotFound("Yeedu knows no such kernel.", status=404), "has not known it for 60 seconds", 60),
    ],
)
def test_a_kernel_to_which_nobody_can_connect_is_given_up(
    execute: Execute, channel: Channel, refusal: YeeduError, words: str, after_seconds: float
) -> None:
    channel.refuses = lambda: refusal
    with pytest.raises(YeeduKernelDied, match=words):
        execute(DONE)
    assert after_seconds <= channel.clock.time < after_seconds + 30


def test_a_token_that_stays_refused_is_an_error_of_its_own(execute: Execute, channel: Channel) -> None:
    channel.refuses = lambda: YeeduAuthenticationError("The token was refused.", status=403)
    with pytest.raises(YeeduAuthenticationError):
        execute(DONE)
    assert channel.clock.time < 90


@pytest.mark.parametrize("state", ["dead", "DEAD", "Restarting"])
def test_a_dead_kernel_is_noticed_however_it_is_spelled_and_whoever_says_so(
    execute: Execute, channel: Channel, yeedu: ScriptedYeedu, state: str
) -> None:
    with pytest.raises(YeeduKernelDied, match="it says that it is"):
        execute([BUSY, message("status", execution_state=state)])
    yeedu.on("GET", f"{RUN}/kernel/status", (200, {"kernel_info": {"kernel_status": state}}))
    with pytest.raises(YeeduKernelDied, match="Yeedu says that it is"):
        execute([BUSY])
    assert channel.clock.time < 60


@pytest.mark.parametrize("state", ["ERROR", "TERMINATED", "DONE"])
def test_a_run_that_ends_by_itself_under_a_cell_is_a_dead_kernel(
    execute: Execute, yeedu: ScriptedYeedu, state: str
) -> None:
    yeedu.on("GET", RUN, (200, {"run_status": state}))
    with pytest.raises(YeeduKernelDied, match=f"ended in {state}"):
        execute([BUSY])


def test_a_kernel_that_dies_because_its_run_is_stopped_was_not_lost(
    execute: Execute, yeedu: ScriptedYeedu
) -> None:
    yeedu.on("GET", RUN, (200, {"run_status": "STOPPING"}))
    with pytest.raises(YeeduRunCancelled):
        execute([BUSY, message("status", execution_state="dead")])


def test_a_cell_that_takes_too_long_is_interrupted(
    execute: Execute, channel: Channel, yeedu: ScriptedYeedu
) -> None:
    def interrupt(_: object) -> tuple[int, Any]:
        channel.waiting += [
            {**answer, "parent_header": {"msg_id": "cell"}} for answer in raised("KeyboardInterrupt", count=1)
        ]
        return 200, {}

    yeedu.on("POST", f"{RUN}/kernel/interrupt", GATEWAY, interrupt)
    execution = execute([BUSY], cell_timeout_seconds=30)
    assert (execution.status, execution.ename) == ("error", "KeyboardInterrupt")
    assert 30 <= channel.clock.time < 40
    assert len(yeedu.called("POST", f"{RUN}/kernel/interrupt")) == 2


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((200, {}), "went on after it was interrupted"),
        ((404, {"error_code": "RFA-000404"}), "could not be interrupted: Yeedu at .* answered 404"),
    ],
)
def test_a_cell_that_cannot_be_interrupted_ends_the_wait(
    execute: Execute, channel: Channel, yeedu: ScriptedYeedu, answer: tuple[int, Any], what: str
) -> None:
    yeedu.on("POST", f"{RUN}/kernel/interrupt", answer)
    with pytest.raises(YeeduRunTimedOut, match=rf"within 30 seconds \(cell_timeout_seconds\), and {what}"):
        execute([BUSY], cell_timeout_seconds=30)
    assert channel.clock.time < 60
