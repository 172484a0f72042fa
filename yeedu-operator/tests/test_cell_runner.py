"""A notebook's cells through a connection that loses things, message by message."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fake_clock import FakeClock
from scripted_yeedu import ScriptedYeedu

from prefect_yeedu.errors import YeeduKernelDied, YeeduKernelError, YeeduTransportError
from prefect_yeedu.models import RunKind
from prefect_yeedu.patience import Deadline
from prefect_yeedu.runs.cell_runner import CellRunner
from prefect_yeedu.runs.starting import RunRequest, make_run
from prefect_yeedu.wire.kernel_protocol import Execution
from prefect_yeedu.wire.notebook_document import Cell

Answer = dict[str, Any]


def message(kind: str, **content: Any) -> Answer:
    return {"msg_type": kind, "content": content}


BUSY = message("status", execution_state="busy")
IDLE = message("status", execution_state="idle")


def reply(status: str = "ok", **content: Any) -> Answer:
    return message("execute_reply", status=status, **content)


def printed(finding: Any) -> Answer:
    return message("stream", name="stdout", text=json.dumps(finding))


class Channel:
    """Answers each request with the next list of messages; LOST is the end of a connection."""

    def __init__(self, clock: FakeClock, *answers: list[Answer]) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.waiting: list[Answer] = []
        self.sent: list[Answer] = []

    def open(self) -> None:
        self.waiting.clear()

    def close(self) -> None:
        pass

    def send(self, text: str) -> None:
        request = json.loads(text)
        self.sent.append(request)
        parent = {"msg_id": request["header"]["msg_id"]}
        self.waiting += [{**answer, "parent_header": parent} for answer in self.answers.pop(0)]

    def receive(self, timeout_seconds: float) -> str | None:
        if not self.waiting:
            self.clock.sleep(timeout_seconds)
            return None
        answer = self.waiting.pop(0)
        if answer["msg_type"] == "lost":
            self.clock.sleep(answer["content"]["after_seconds"])
            raise YeeduTransportError("The websocket to the kernel is lost.")
        return json.dumps(answer)


def lost(after_seconds: float = 0.0) -> Answer:
    return message("lost", after_seconds=after_seconds)


Execute = Callable[..., tuple[Execution, Channel]]
CELL = Cell(1, "cell", "x = 1", True)
DONE = [BUSY, reply(execution_count=1), IDLE]


@pytest.fixture
def execute(
    yeedu: ScriptedYeedu, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Execution, Channel]]:
    """Execute one cell on a kernel that answers as the test says; time passes only when nothing comes."""
    yeedu.on("GET", "workspace/1/notebook/run/9", (200, {"run_status": "RUNNING"}))

    def execute(*answers: list[Answer]) -> tuple[Execution, Channel]:
        clock = FakeClock()
        channel = Channel(clock, *answers)
        monkeypatch.setattr("prefect_yeedu.runs.cell_runner.KernelChannel", lambda *_: channel)
        with yeedu.client("notebook/5", clock=clock) as client:
            run = make_run(client.api(RunKind.NOTEBOOK), 9, RunRequest(), None)
            runner = CellRunner(run, Deadline.after(clock, 100_000))
            runner.open()
            return runner.execute(CELL), channel

    return execute


def test_a_reply_that_is_there_before_sending_returns_counts(execute: Execute) -> None:
    execution, channel = execute(DONE)
    assert (execution.status, len(channel.sent)) == ("ok", 1)


def test_a_websocket_that_is_never_accepted_is_given_up(
    yeedu: ScriptedYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    yeedu.on("GET", "workspace/1/notebook/run/9", (200, {"run_status": "RUNNING"}))
    attempts: list[float] = []

    class Refusing(Channel):
        def open(self) -> None:
            attempts.append(self.clock.time)
            raise YeeduTransportError("The websocket to the kernel was refused with status 500.")

    clock = FakeClock()
    monkeypatch.setattr("prefect_yeedu.runs.cell_runner.KernelChannel", lambda *_: Refusing(clock))
    with yeedu.client("notebook/5", clock=clock) as client:
        run = make_run(client.api(RunKind.NOTEBOOK), 9, RunRequest(), None)
        with pytest.raises(YeeduKernelDied, match="stayed out of reach for 120 seconds"):
            CellRunner(run, Deadline.after(clock, None)).open()
    assert 5 < len(attempts) < 50


def test_a_cell_whose_reply_is_lost_is_not_sent_again(execute: Execute) -> None:
    execution, channel = execute([BUSY, IDLE], [printed([2, True]), *DONE])
    assert (execution.status, execution.execution_count) == ("ok", 1)
    assert [request["content"]["code"] == "x = 1" for request in channel.sent] == [True, False]


@pytest.mark.parametrize(
    "first_answer",
    [
        pytest.param(DONE, id="its output is lost"),
        pytest.param([BUSY, reply()], id="output and idle are lost"),
        pytest.param([printed([2, True]), BUSY, IDLE], id="its reply is lost"),
        pytest.param([reply("aborted"), IDLE], id="it was queued behind a cell that failed"),
        pytest.param([lost()], id="the connection is lost again"),
    ],
)
def test_a_lost_answer_about_the_past_is_asked_for_again(
    execute: Execute, first_answer: list[Answer]
) -> None:
    execution, channel = execute([lost()], first_answer, [printed([2, True]), *DONE])
    assert (execution.status, execution.execution_count) == ("ok", 1)
    assert len(channel.sent) == 3


def test_a_long_cell_outlives_any_number_of_connections(execute: Execute) -> None:
    execution, channel = execute(*[[lost(3600)]] * 20, [printed([2, False, "ValueError", "bad"]), *DONE])
    assert (execution.status, execution.ename, execution.evalue) == ("error", "ValueError", "bad")
    assert len(channel.sent) == 21


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(DONE, id="nothing"),
        pytest.param([message("stream", name="stdout", text="[]"), *DONE], id="something else"),
        pytest.param([lost()], id="no connection"),
        pytest.param([reply("error", ename="NameError", evalue="get_ipython"), IDLE], id="another language"),
    ],
)
def test_a_kernel_that_never_says_what_it_executed_is_an_error(
    execute: Execute, answer: list[Answer]
) -> None:
    with pytest.raises(YeeduKernelError, match="cannot say what it has executed"):
        execute([lost()], *[answer] * 5)
