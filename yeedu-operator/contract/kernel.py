"""A websocket to a notebook's kernel, and everything that came through it."""

from __future__ import annotations

import json
import struct
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import websocket

if TYPE_CHECKING:
    import ssl

    from contract.server import JsonObject

CONNECT_SECONDS = 15.0


@dataclass
class Kernel:
    """An open websocket.

    Attributes:
        socket: The websocket.
        received: Messages, in the order they came.
        close_code: With which code the server closed it; None while it has not, or has without one.
    """

    socket: websocket.WebSocket
    received: list[JsonObject] = field(default_factory=list["JsonObject"])
    close_code: int | None = None

    def send(self, source: str) -> str:
        """Send a cell and return the id of the message."""
        message_id = str(uuid.uuid4())
        header = {
            "msg_type": "execute_request",
            "msg_id": message_id,
            "username": "username",
            "session": str(uuid.uuid4()),
            "date": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "version": "5.3",
        }
        content: JsonObject = {"code": source, "silent": False, "store_history": True, "user_expressions": {}}
        self.socket.send(
            json.dumps(
                {
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": {**content, "allow_stdin": False, "stop_on_error": True},
                    "buffers": [],
                    "channel": "shell",
                }
            )
        )
        return message_id

    def ends_of(self, message_id: str) -> list[str]:
        """Return `reply` and `idle` of a cell, in the order they came."""
        ends: list[str] = []
        for message in self.of(message_id):
            if message.get("msg_type") == "execute_reply":
                ends.append("reply")
            elif _content(message).get("execution_state") == "idle":
                ends.append("idle")
        return ends

    def of(self, message_id: str) -> list[JsonObject]:
        """Return the messages that belong to a cell."""
        return [one for one in self.received if _header(one, "parent_header").get("msg_id") == message_id]

    def count_of(self, message_id: str) -> int | None:
        """Return how many cells the kernel had executed with this one; None where no reply says that."""
        counts = [_content(one).get("execution_count") for one in self.of(message_id)]
        return max((one for one in counts if isinstance(one, int)), default=None)

    def repeated(self) -> int:
        """Return how many messages came more than once."""
        ids = Counter(str(_header(one, "header").get("msg_id")) for one in self.received)
        return sum(count > 1 for count in ids.values())

    def finish(self, message_id: str, seconds: float) -> bool:
        """Receive until a cell has its reply and its idle, and tell whether it has both."""
        deadline = time.monotonic() + seconds
        while {"reply", "idle"} - {*self.ends_of(message_id)}:
            if time.monotonic() > deadline or not self.receive(deadline - time.monotonic()):
                return False
        return True

    def receive(self, seconds: float) -> bool:
        """Receive one frame; False when none came in time, or the websocket is closed."""
        self.socket.settimeout(max(seconds, 0.01))
        try:
            opcode, frame = cast("tuple[int, Any]", self.socket.recv_data_frame(control_frame=True))  # pyright: ignore[reportUnknownMemberType]
        except (websocket.WebSocketException, OSError):
            return False
        data = cast("bytes", frame.data)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.close_code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else None
            return False
        if opcode in {websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY}:
            try:
                message: object = json.loads(data)
            except ValueError:
                message = None
            if isinstance(message, dict):
                self.received.append(cast("JsonObject", message))
        return True

    def close(self) -> None:
        """Leave, without waiting for the other side."""
        try:
            self.socket.close(timeout=0)
        except (websocket.WebSocketException, OSError):
            pass
        finally:
            self.socket.shutdown()


def connect(url: str, context: ssl.SSLContext, token: str | None = None) -> Kernel | None:
    """Open a websocket; None where that is refused.

    Args:
        url: Its address, beginning with `ws`.
        context: How certificates are checked.
        token: Sent in a header.
    """
    socket = websocket.WebSocket(sslopt={"context": context})
    header = [f"Authorization: Bearer {token}"] if token else []
    try:
        socket.connect(url, timeout=CONNECT_SECONDS, header=header)  # pyright: ignore[reportUnknownMemberType]
    except (websocket.WebSocketException, OSError):
        socket.shutdown()
        return None
    return Kernel(socket)


def _header(message: JsonObject, name: str) -> JsonObject:
    value = message.get(name)
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _content(message: JsonObject) -> JsonObject:
    return _header(message, "content")
