"""Loses, repeats and reorders messages of a kernel connection, as the switches say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yeedu_mock.control.switches import Switches

Message = dict[str, Any]


class Disturbance:
    """Disturbs one connection's messages on their way to the client."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._sent = 0
        self._arrived = 0
        self._held: dict[str, Message] = {}
        self._seen: set[str] = set()

    def pass_on(self, message: Message) -> list[Message]:
        """Return the messages to send now that this one has arrived; undisturbed, only this one."""
        self._arrived += 1
        every = self._switches.websocket_lose_every
        if message["msg_type"] in self._switches.websocket_swallow or (every and not self._arrived % every):
            return []
        copies = 2 if self._switches.websocket_duplicates else 1
        return [copy for ordered in self._in_order(message) for copy in [ordered] * copies]

    def is_to_be_dropped(self) -> bool:
        """Return whether to drop the connection instead of sending the next message, and count it."""
        limit = self._switches.websocket_drop_after_messages
        if limit is not None and self._sent >= limit and self._switches.websocket_drops:
            self._switches.websocket_drops -= 1
            return True
        self._sent += 1
        return False

    def _in_order(self, message: Message) -> list[Message]:
        """Hold back a cell's reply or its idle status until the other one has been sent."""
        order = self._switches.websocket_order
        is_reply = message["msg_type"] == "execute_reply"
        is_idle = (
            message["msg_type"] == "status"
            and message["content"].get("execution_state") == "idle"
            and message["parent_header"].get("msg_type") == "execute_request"
        )
        if order == "as_published" or not (is_reply or is_idle):
            return [message]
        request = str(message["parent_header"].get("msg_id"))
        goes_first = is_reply if order == "reply_first" else is_idle
        if goes_first:
            held = self._held.pop(request, None)
            if held is None:
                self._seen.add(request)
            return [message] if held is None else [message, held]
        if request in self._seen:
            self._seen.discard(request)
            return [message]
        self._held[request] = message
        return []
