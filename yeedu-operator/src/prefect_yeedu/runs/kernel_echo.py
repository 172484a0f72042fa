"""Detects whether the replies to a request were lost although the connection is open.

Used by `cell_runner` while it waits for a cell. A gateway may lose messages of a websocket that stays open.
Then the end of a cell never arrives, and an idle kernel looks like one that works silently.
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
# How long after those to a later request a request's own answers may arrive, over another channel.
LATE_SECONDS = 5.0


class KernelEcho:
    """Sends empty requests while the request that is waited for is silent.

    A kernel handles the requests of its shell channel one after the other, so an answer to a later one shows
    that it is done with all earlier ones. The silence after which the next one is sent doubles, so that few
    of them queue up behind a long cell.

    Args:
        clock: The source of time.
        send: Sends a text to the kernel.
        session_id: The session id of the client's other requests.
    """

    def __init__(self, clock: Clock, send: Callable[[str], None], session_id: str) -> None:
        self._clock = clock
        self._send = send
        self._session_id = session_id
        self._silence_seconds = FIRST_SILENCE_SECONDS
        self._heard_at = clock.now()
        self._sent: set[str] = set()
        self._answered_at: float | None = None
        self._is_published = False

    @property
    def is_sent(self) -> bool:
        """Whether an empty request has been sent."""
        return bool(self._sent)

    @property
    def shows_all_outputs(self) -> bool:
        """Whether all outputs of earlier requests have arrived; the kernel publishes in order."""
        return self._is_published

    @property
    def shows_loss(self) -> bool:
        """Whether the kernel has been done with all earlier requests for a while."""
        return self._answered_at is not None and self._clock.now() - self._answered_at > LATE_SECONDS

    def take(self, message: KernelMessage) -> None:
        """Take note of a message from the kernel, whichever request it belongs to."""
        self._heard_at = self._clock.now()
        if self._answered_at is None and message.parent_id in self._sent:
            self._answered_at = self._heard_at
        if message.kind == "status" and message.parent_id in self._sent:
            self._is_published = True

    def send_when_due(self) -> None:
        """Send an empty request, if the kernel has been silent for long.

        Raises:
            YeeduTransportError: The connection is lost.
        """
        now = self._clock.now()
        if self._answered_at is not None or now - self._heard_at < self._silence_seconds:
            return
        self.send()
        self._silence_seconds = min(2 * self._silence_seconds, MAX_SILENCE_SECONDS)

    def send(self) -> None:
        """Send an empty request.

        Raises:
            YeeduTransportError: The connection is lost.
        """
        message_id = str(uuid.uuid4())
        self._send(execute_request("", message_id=message_id, session_id=self._session_id, is_silent=True))
        self._sent.add(message_id)
        self._heard_at = self._clock.now()
