"""The messages of a notebook's kernel, without any input or output.

Yeedu's websocket carries Jupyter messages as JSON text (yeedu-protocol section 5.2). The client sends only
`execute_request`; what comes back is sorted by the request it belongs to.
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
# A message that comes twice comes soon after the first time; more ids than these are not remembered.
MAX_REMEMBERED_MESSAGES = 4096
MAX_TRACEBACK_CHARACTERS = 100_000
_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class KernelMessage:
    """A message from the kernel.

    Attributes:
        kind: Its `msg_type`.
        parent_id: Id of the request that caused it; empty where none did.
        content: What it says.
        id: Its own id; empty where it has none.
    """

    kind: str
    parent_id: str
    content: JsonObject
    id: str = ""


def parse_message(text: str) -> KernelMessage | None:
    """Return a message, or None for what is not one."""
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
    """Return a JSON value whose texts can be stored wherever outputs go: log, artifact, notebook."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {storable(key): _storable(item) for key, item in items}
    return value


def kernel_state(answer: JsonObject, key: str) -> str:
    """Return the state of a kernel as a message or an answer names it, in lower case; empty for none."""
    return (text_of(answer, key) or "").strip().lower()


def execute_request(
    code: str, *, message_id: str, session_id: str, is_silent: bool = False, stops_on_error: bool = True
) -> str:
    """Return the text of a request to execute code.

    Args:
        code: What to execute.
        message_id: Comes back as the parent of every answer.
        session_id: The same for all requests of one client.
        is_silent: Whether the kernel leaves it out of its history and its counting.
        stops_on_error: Whether the kernel drops the requests that come right after this one, if it fails.
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
    """Return a text without the codes that colour it in a terminal."""
    return _TERMINAL_COLOURS.sub("", text)


@dataclass
class Execution:
    """One request and what has come back for it; finished on its `execute_reply` *and* its `idle`.

    Attributes:
        message_id: The request.
        collected: The outputs so far.
        status: The reply's status: `ok`, `error`, `aborted`; None before it came.
        ename: The exception's class, where one was raised.
        evalue: The exception's text.
        traceback: The kernel's traceback without colours.
        execution_count: The kernel's number of the execution, where it is known.
        is_idle: Whether the kernel has said that it is done with the request.
    """

    message_id: str
    collected: OutputCollector = field(default_factory=OutputCollector)
    status: str | None = None
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    execution_count: int | None = None
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
        """Apply a message about this request and return the output it brought, if any.

        A message that comes again is ignored.
        """
        if message.id and not self._is_first(message.id):
            return None
        content = message.content
        match message.kind:
            case "status":
                self.is_idle = self.is_idle or kernel_state(content, "execution_state") == "idle"
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
                pass  # comm messages, input requests and what later protocols add mean nothing here
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
