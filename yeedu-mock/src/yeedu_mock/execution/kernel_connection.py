"""Translates between one websocket's JSON messages and a kernel's ZeroMQ sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

from jupyter_client.jsonutil import json_default

if TYPE_CHECKING:
    from collections.abc import Callable

    import zmq.asyncio
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.session import Session

    from yeedu_mock.execution.message_faults import Disturbance

logger = logging.getLogger(__name__)

Message = dict[str, Any]

CHANNELS = ("shell", "control", "stdin")
MAX_WAITING_MESSAGES = 10_000


def open_socket(manager: AsyncKernelManager, channel: str) -> zmq.asyncio.Socket:
    """Return a new socket on one of a kernel's channels; the caller closes it."""
    connect: Callable[[], zmq.asyncio.Socket] = getattr(manager, f"connect_{channel}")
    return connect()


def read_message(session: Session, frames: list[bytes], channel: str) -> Message | None:
    """Return a kernel's message in the form in which Jupyter servers send it, or None if it cannot be read.

    `msg_type` and `msg_id` are at the top level as well as in the header, because clients read them there.
    """
    try:
        _, parts = session.feed_identities(frames)
        message = session.deserialize(parts)
    except (ValueError, TypeError, KeyError) as error:
        logger.warning("A message on %s could not be read: %s", channel, error)
        return None
    return {
        "header": message["header"],
        "msg_id": message["msg_id"],
        "msg_type": message["msg_type"],
        "parent_header": message["parent_header"],
        "metadata": message["metadata"],
        "content": message["content"],
        "buffers": [],
        "channel": channel,
    }


class KernelConnection:
    """One client's view of a kernel: requests go in, replies and publications come out as they arrive."""

    def __init__(self, manager: AsyncKernelManager, disturbance: Disturbance) -> None:
        # Its own session: clients may use the same ids, and replies must not be taken for replays.
        self._session = manager.session.clone()
        self._sockets: dict[str, zmq.asyncio.Socket] = {
            channel: open_socket(manager, channel) for channel in CHANNELS
        }
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(MAX_WAITING_MESSAGES)
        self._tasks = [asyncio.create_task(self._receive(channel)) for channel in CHANNELS]
        self._disturbance = disturbance
        self._is_dropped = False
        self.has_replied = False

    async def greet(self, state: str) -> None:
        """Send what a new connection gets: a status without a parent, then the answers to our own request."""
        self.put_status(state)
        await self.ask_kernel_info()

    async def ask_kernel_info(self) -> None:
        """Send a `kernel_info_request`."""
        await self._send("shell", self._session.msg("kernel_info_request"))

    async def forward(self, text: str) -> None:
        """Pass a client's message on to the kernel; log and drop what is not a Jupyter message."""
        try:
            message = json.loads(text)
            header = message["header"]
            request = {
                "header": {**header, "msg_id": str(header["msg_id"]), "msg_type": str(header["msg_type"])},
                "parent_header": message.get("parent_header") or {},
                "metadata": message.get("metadata") or {},
                "content": message.get("content") or {},
            }
            await self._send(message.get("channel") or "shell", request)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            logger.warning(
                "A websocket message was dropped, it is not a Jupyter message: %s", type(error).__name__
            )

    def put(self, message: Message) -> None:
        """Queue a message for the client; disconnect a client that does not read."""
        for copy in self._disturbance.pass_on(message):
            try:
                self._messages.put_nowait(copy)
            except asyncio.QueueFull:
                self.finish()
                return

    def put_status(self, state: str) -> None:
        """Queue a status message that no request caused."""
        header = self._session.msg_header("status")
        self.put(
            {
                "header": header,
                "msg_id": header["msg_id"],
                "msg_type": "status",
                "parent_header": {},
                "metadata": {},
                "content": {"execution_state": state},
                "buffers": [],
                "channel": "iopub",
            }
        )

    async def next_message(self) -> str | None:
        """Return the next message as JSON text, or None once the kernel has ended."""
        message = await self._messages.get()
        return None if message is None else json.dumps(message, default=json_default)

    def is_to_be_dropped(self) -> bool:
        """Return whether to drop the connection instead of sending the next message."""
        return self._is_dropped or self._disturbance.is_to_be_dropped()

    def drop(self) -> None:
        """Have the connection dropped; what is queued is not sent."""
        self._is_dropped = True
        with contextlib.suppress(asyncio.QueueFull):
            self._messages.put_nowait({})  # only wakes the sender, which then sends nothing

    def resume(self) -> None:
        """Go on with what is queued, for a client that has come back."""
        self._is_dropped = False

    def finish(self) -> None:
        """Let the client read what is queued, then end."""
        while True:
            try:
                self._messages.put_nowait(None)
            except asyncio.QueueFull:
                self._messages.get_nowait()
            else:
                return

    def close(self) -> None:
        """Close the sockets."""
        for task in self._tasks:
            task.cancel()
        for socket in self._sockets.values():
            socket.close(linger=0)

    async def _send(self, channel: str, message: Message) -> None:
        # Not with the session's own send(), which bypasses asyncio: sending would consume ZeroMQ's signal
        # that a reply has arrived, and whatever waits for that reply would not be woken.
        socket: Any = self._sockets[channel]  # its methods' types are only half known
        await socket.send_multipart(self._session.serialize(message))

    async def _receive(self, channel: str) -> None:
        while True:
            frames = await self._sockets[channel].recv_multipart()
            message = read_message(self._session, frames, channel)
            if message is not None:
                self.has_replied = True
                self.put(message)
