"""A listening socket that drops new connections if switches say so."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yeedu_mock.control.switches import Switches

RESET = struct.pack("ii", 1, 0)
TIMEOUT_SECONDS = 10.0


class Listener(socket.socket):
    """A listening socket; without switches, it accepts every connection."""

    switches: Switches | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises:
            ConnectionAbortedError: It was dropped; asyncio then goes on to the next.
        """
        connection, address = super().accept()
        switches = self.switches
        if switches is None or not switches.connections_to_drop:
            return connection, address
        switches.connections_to_drop -= 1
        if switches.connection_end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
        else:
            threading.Thread(target=_close_in_order, args=(connection,), daemon=True).start()
        raise ConnectionAbortedError


def _close_in_order(connection: socket.socket) -> None:
    """Shut down our side, and read what still comes: closing with unread data would be a reset."""
    with connection, contextlib.suppress(OSError):
        connection.settimeout(TIMEOUT_SECONDS)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
