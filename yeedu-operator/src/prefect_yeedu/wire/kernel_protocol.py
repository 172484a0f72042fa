"""The messages of a notebook's kernel, without any I/O.

Yeedu's websocket carries Jupyter messages as JSON text (yeedu-protocol section 5.2). The client sends only
`execute_request`; what comes back is assigned to the request that it belongs to.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from prefect_yeedu.models import Output
from prefect_yeedu.wire.cell_outputs import OutputCollector
from prefect_yeedu.wire.redaction import storable
from prefect_yeedu.wire.responses import JsonObject, object_of, text_of

CLEAN_EXIT = "CleanExit"
READY_KERNEL_STATES = frozenset({"idle", "starting", "busy"})
DEAD_KERNEL_STATES = frozenset({"dead", "restarting", "autorestarting", "terminating"})
# A repeated message arrives soon after the first one, so no more ids than these are remembered.
MAX_REMEMBERED_MESSAGES = 4096
MAX_TRACEBACK_CHARACTERS = 100_000
_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class KernelMessage:
    """A message from the kernel.

    Attributes:
        kind: Its `msg_type`.
        parent_id: Id of the request that caused it; empty if none did.
        content: The message's content.
        id: Its own id; empty if it has none.
    """

    kind: str
    parent_id: str
    content: JsonObject
    id: str = ""


def parse_message(text: str) -> KernelMessage | None:
    """Parse a message; return None for anything else."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if "\\u" in text:
        value = _storable(value)
    if not isinstance(value, dict):
        return None
    message = cast("JsonObject", value)
    kind = text_of(message, "msg_type") or text_of(object_of(message, "header"), "msg_type")
    if kind is None:
        return None
    parent_id = text_of(object_of(message, "parent_header"), "msg_id") or ""
    own_id = text_of(object_of(message, "header"), "msg_id") or ""
    return KernelMessage(kind, parent_id, object_of(message, "content"), own_id)


def _storable(value: object) -> object:
    """Return a JSON value whose texts can be stored wherever outputs go: logs, artifacts, notebooks."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {storable(key): _storable(item) for key, item in items}
    return value


def kernel_state(answer: JsonObject, key: str) -> str:
    """Return the kernel's state in a message or an answer, in lower case; empty if it names none."""
    return (text_of(answer, key) or "").strip().lower()


def execute_request(
    code: str, *, message_id: str, session_id: str, is_silent: bool = False, stops_on_error: bool = True
) -> str:
    """Return the text of a request to execute code.

    Args:
        code: What to execute.
        message_id: The request's id, which every answer names as its parent.
        session_id: The session's id, the same for all requests of one client.
        is_silent: Whether the kernel leaves the request out of its history and its execution count.
        stops_on_error: Whether the kernel, if this request fails, drops those that come right after it.
    """
    header = {
        "msg_type": "execute_request",
        "msg_id": message_id,
        "username": "username",
        "session": session_id,
        "date": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "version": "5.3",
    }
    content: JsonObject = {
        "code": code,
        "silent": is_silent,
        "store_history": not is_silent,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": stops_on_error and not is_silent,
    }
    return json.dumps(
        {
            "header": header,
            "metadata": {},
            "parent_header": {},
            "buffers": [],
            "channel": "shell",
            "content": content,
        }
    )


def plain(text: str) -> str:
    """Return a text without terminal colour codes."""
    return _TERMINAL_COLOURS.sub("", text)


@dataclass
class Execution:
    """A request and what has arrived for it; finished once its `execute_reply` *and* its `idle` have.

    Attributes:
        message_id: The request's id.
        collected: The outputs so far.
        status: The reply's status: `ok`, `error`, `aborted`; None until it arrives.
        ename: The exception's class, if one was raised.
        evalue: The exception's text.
        traceback: The kernel's traceback without colours.
        execution_count: The kernel's execution count, if it is known.
        is_busy: Whether the kernel has ever reported that it is working on the request.
        is_idle: Whether the kernel has reported that it is done with the request.
    """

    message_id: str
    collected: OutputCollector = field(default_factory=OutputCollector)
    status: str | None = None
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    execution_count: int | None = None
    is_busy: bool = False
    is_idle: bool = False
    _taken: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will come."""
        return self.status is not None and self.is_idle

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs so far, in order."""
        return self.collected.outputs

    def receive(self, message: KernelMessage) -> Output | None:
        """Apply a message about this request and return its output, if any.

        Repeated messages are ignored.
        """
        if message.id and not self._is_first(message.id):
            return None
        content = message.content
        match message.kind:
            case "status":
                state = kernel_state(content, "execution_state")
                self.is_busy = self.is_busy or state == "busy"
                self.is_idle = self.is_idle or state == "idle"
            case "execute_input":
                self._note_count(content)
            case "execute_reply":
                self._take_reply(content)
            case "stream":
                name, text = text_of(content, "name") or "stdout", str(content.get("text") or "")
                self.collected.add_stream(name, text)
                return Output("stream", name, {"text/plain": text})
            case "display_data" | "execute_result":
                output = _rich_output(message.kind, content)
                self.collected.add(output, _display_id(content))
                return output
            case "update_display_data":
                output = _rich_output("display_data", content)
                return output if self.collected.update(output, _display_id(content)) else None
            case "clear_output":
                self.collected.clear(waits=bool(content.get("wait")))
            case "error":
                self._note_error(content)
                text = self.traceback or f"{self.ename}: {self.evalue}"
                output = Output("error", self.ename, {"text/plain": text}, evalue=self.evalue)
                self.collected.add(output)
                return output
            case _:
                pass  # comm messages, input requests and what later protocols add are ignored
        return None

    def _is_first(self, message_id: str) -> bool:
        if message_id in self._taken:
            return False
        self._taken[message_id] = None
        if len(self._taken) > MAX_REMEMBERED_MESSAGES:
            self._taken.popitem(last=False)
        return True

    def _take_reply(self, content: JsonObject) -> None:
        if self.status is not None:
            return  # a repetition; the first one counts
        self._note_count(content)
        self.status = text_of(content, "status") or "ok"
        if self.status == "error":
            self._note_error(content)

    def _note_count(self, content: JsonObject) -> None:
        count = content.get("execution_count")
        if isinstance(count, int):
            self.execution_count = count

    def _note_error(self, content: JsonObject) -> None:
        self.ename = text_of(content, "ename") or self.ename or "Error"
        self.evalue = plain(text_of(content, "evalue") or self.evalue)
        lines: object = content.get("traceback")
        if isinstance(lines, list) and lines:
            text = plain("\n".join(str(line) for line in cast("list[object]", lines)))
            self.traceback = text[-MAX_TRACEBACK_CHARACTERS:]


def _rich_output(kind: str, content: JsonObject) -> Output:
    data = {mime: _as_text(mime, value) for mime, value in object_of(content, "data").items()}
    count = content.get("execution_count") if kind == "execute_result" else None
    return Output(
        kind,
        data=data,
        metadata=object_of(content, "metadata"),
        execution_count=count if isinstance(count, int) else None,
    )


def _display_id(content: JsonObject) -> str | None:
    return text_of(object_of(content, "transient"), "display_id")


def _as_text(mime: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and not mime.endswith("json"):  # nbformat allows a text as a list of lines
        return "".join(str(line) for line in cast("list[object]", value))
    return json.dumps(value)
