"""Detects whether the replies to a request were lost although the connection is open.

Used by `cell_runner` while it waits for a cell. A gateway may lose messages of a websocket that stays open,
and then the end of a cell never comes: a kernel that is done looks like one that works in silence.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from prefect_yeedu.wire.kernel_protocol import execute_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect_yeedu.retry_policy import Clock
    from prefect_yeedu.wire.kernel_protocol import KernelMessage

FIRST_SILENCE_SECONDS = 30.0
MAX_SILENCE_SECONDS = 600.0
# How long the answers to the request itself may come after those to a later one; they have several channels.
LATE_SECONDS = 5.0


class KernelEcho:
    """Sends requests that do nothing while one is waited for that says nothing.

    A kernel handles the requests of its shell channel one after the other, so an answer to a later one shows
    that it is done with all that came before. One that works for long finds few of them at its end: the
    silence doubles after which the next one is sent.

    Args:
        clock: The time.
        send: Sends a text to the kernel.
        session_id: That of the client's other requests.
    """

    def __init__(self, clock: Clock, send: Callable[[str], None], session_id: str) -> None:
        self._clock = clock
        self._send = send
        self._session_id = session_id
        self._silence_seconds = FIRST_SILENCE_SECONDS
        self._heard_at = clock.now()
        self._sent: set[str] = set()
        self._answered_at: float | None = None

    @property
    def shows_loss(self) -> bool:
        """Whether the kernel has been done for a while with what was sent before."""
        return self._answered_at is not None and self._clock.now() - self._answered_at > LATE_SECONDS

    def take(self, message: KernelMessage) -> None:
        """Hear a message from the kernel, whatever it belongs to."""
        self._heard_at = self._clock.now()
        if self._answered_at is None and message.parent_id in self._sent:
            self._answered_at = self._heard_at

    def send_when_due(self) -> None:
        """Send a request that does nothing, if the kernel has been silent for long.

        Raises:
            YeeduTransportError: The connection is lost.
        """
        now = self._clock.now()
        if self._answered_at is not None or now - self._heard_at < self._silence_seconds:
            return
        message_id = str(uuid.uuid4())
        self._send(execute_request("", message_id=message_id, session_id=self._session_id, is_silent=True))
        self._sent.add(message_id)
        self._heard_at = now
        self._silence_seconds = min(2 * self._silence_seconds, MAX_SILENCE_SECONDS)
