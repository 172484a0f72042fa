"""A kernel's connection that brings what a test says, message by message, in time that does not pass."""

import json
from collections.abc import Callable  # noqa: TC003
from typing import Any

from fake_clock import FakeClock

from prefect_yeedu.errors import YeeduTransportError

Answer = dict[str, Any]


def message(kind: str, **content: Any) -> Answer:
    return {"msg_type": kind, "content": content}


BUSY = message("status", execution_state="busy")
IDLE = message("status", execution_state="idle")


def reply(status: str = "ok", **content: Any) -> Answer:
    return message("execute_reply", status=status, **content)


def raised(ename: str, evalue: str = "", count: int | None = None) -> list[Answer]:
    """Return what comes of a cell that raises."""
    error = {"ename": ename, "evalue": evalue, "traceback": [f"{ename}: {evalue}"]}
    counted = {} if count is None else {"execution_count": count}
    return [BUSY, message("error", **error), reply("error", **error, **counted), IDLE]


def done(count: int, *outputs: Answer) -> list[Answer]:
    """Return what comes of a cell that succeeds."""
    return [BUSY, *outputs, reply(execution_count=count), IDLE]


def stream(text: str) -> Answer:
    return message("stream", name="stdout", text=text)


def finding(*values: Any) -> list[Answer]:
    """Return what comes of the question about the past."""
    return [stream(json.dumps(values)), BUSY, reply(), IDLE]


def lost(after_seconds: float = 0.0) -> Answer:
    """Return the end of a connection."""
    return message("lost", after_seconds=after_seconds)


def silence(seconds: float) -> Answer:
    """Return a time in which nothing comes."""
    return message("silence", seconds=seconds)


class Channel:
    """Answers each request with the next list of messages, and is refused while the test says so."""

    def __init__(self, clock: FakeClock, *answers: list[Answer]) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.waiting: list[Answer] = []
        self.sent: list[Answer] = []
        self.opened_at: list[float] = []
        self.refuses: Callable[[], Exception | None] = lambda: None

    @property
    def codes(self) -> list[str]:
        """What was sent to be executed and counted."""
        return [request["content"]["code"] for request in self.sent if not request["content"]["silent"]]

    def open(self) -> None:
        self.waiting.clear()
        self.opened_at.append(self.clock.time)
        if (error := self.refuses()) is not None:
            raise error

    def close(self) -> None:
        pass

    def send(self, text: str) -> None:
        request = json.loads(text)
        self.sent.append(request)
        parent = {"msg_id": request["header"]["msg_id"]}
        answers = self.answers.pop(0) if self.answers else []
        self.waiting += [{**answer, "parent_header": parent} for answer in answers]

    def receive(self, timeout_seconds: float) -> str | None:
        if not self.waiting:
            self.clock.sleep(timeout_seconds)
            return None
        if self.waiting[0]["msg_type"] == "silence":
            left = self.waiting[0]["content"]["seconds"] - timeout_seconds
            self.waiting[:1] = [silence(left)] if left > 0 else []
            self.clock.sleep(timeout_seconds)
            return None
        answer = self.waiting.pop(0)
        if answer["msg_type"] == "lost":
            self.clock.sleep(answer["content"]["after_seconds"])
            raise YeeduTransportError("The websocket to the kernel is lost.")
        return json.dumps(answer)
