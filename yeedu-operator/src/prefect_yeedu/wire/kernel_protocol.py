"""The messages of a notebook's kernel, without any input or output.

Yeedu's websocket carries Jupyter messages as JSON text (yeedu-protocol section 5.2). The client sends only
`execute_request`; what comes back is sorted by the request it belongs to.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

from prefect_yeedu.models import Output
from prefect_yeedu.wire.answers import JsonObject, object_of, text_of
from prefect_yeedu.wire.redaction import storable

CLEAN_EXIT = "CleanExit"
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


def execute_request(code: str, *, message_id: str, session_id: str, is_silent: bool = False) -> str:
    """Return the text of a request to execute code.

    Args:
        code: What to execute.
        message_id: Comes back as the parent of every answer.
        session_id: The same for all requests of one client.
        is_silent: Whether the kernel leaves it out of its history and its counting.
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
        "stop_on_error": not is_silent,
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
        outputs: So far, in order; pieces of one stream are joined.
        status: The reply's status: `ok`, `error`, `aborted`; None before it came.
        ename: The exception's class, where one was raised.
        evalue: The exception's text.
        traceback: The kernel's traceback without colours.
        execution_count: The kernel's number of the execution, where it is known.
        is_idle: Whether the kernel has said that it is done with the request.
    """

    message_id: str
    outputs: list[Output] = field(default_factory=list[Output])
    status: str | None = None
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    execution_count: int | None = None
    is_idle: bool = False
    _clears_before_next: bool = False
    _taken: set[str] = field(default_factory=set[str])

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will come."""
        return self.status is not None and self.is_idle

    def receive(self, message: KernelMessage) -> Output | None:
        """Take in a message of this request, once, and return the output it brought, if any."""
        if message.id in self._taken:
            return None
        if message.id:
            self._taken.add(message.id)
        content = message.content
        match message.kind:
            case "status":
                self.is_idle = self.is_idle or content.get("execution_state") == "idle"
            case "execute_input":
                self._note_count(content)
            case "execute_reply":
                self._take_reply(content)
            case "stream":
                name = text_of(content, "name") or "stdout"
                return self._add(Output("stream", name, {"text/plain": str(content.get("text") or "")}))
            case "display_data" | "execute_result":
                return self._add(_rich_output(message.kind, content))
            case "update_display_data":
                return self._update(_rich_output("display_data", content))
            case "clear_output":
                self._clear(waits=bool(content.get("wait")))
            case "error":
                self._note_error(content)
                text = {"text/plain": self.traceback or f"{self.ename}: {self.evalue}"}
                return self._add(Output("error", self.ename, text))
            case _:
                pass  # comm messages, input requests and what later protocols add mean nothing here
        return None

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
            self.traceback = plain("\n".join(str(line) for line in cast("list[object]", lines)))

    def _add(self, output: Output) -> Output:
        if self._clears_before_next:
            self.outputs.clear()
            self._clears_before_next = False
        last = self.outputs[-1] if self.outputs else None
        if output.kind == "stream" and last is not None and (last.kind, last.name) == ("stream", output.name):
            self.outputs[-1] = replace(last, data={"text/plain": last.text + output.text})
        else:
            self.outputs.append(output)
        return output

    def _update(self, output: Output) -> Output | None:
        for position, known in enumerate(self.outputs):
            if output.display_id is not None and known.display_id == output.display_id:
                self.outputs[position] = replace(output, kind=known.kind)
                return output
        return None

    def _clear(self, *, waits: bool) -> None:
        if waits:
            self._clears_before_next = True
        else:
            self.outputs.clear()


def _rich_output(kind: str, content: JsonObject) -> Output:
    data = {mime: _as_text(value) for mime, value in object_of(content, "data").items()}
    return Output(kind, "", data, text_of(object_of(content, "transient"), "display_id"))


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # nbformat allows a text as a list of lines
        return "".join(str(line) for line in cast("list[object]", value))
    return json.dumps(value)
