"""Many connections at once, each with a beginning of what never ends."""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator

# How long nothing is taken any more before the sending ends, and how long an answer is waited for.
STALLED_SECONDS = 2.0
ANSWER_SECONDS = 10.0


@contextlib.contextmanager
def flood(port: int, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Open connections to a port of this machine and send the same over each, while any of it is taken.

    The connections stay open while the context does.
    """
    with contextlib.ExitStack() as open_ones:
        connections: list[socket.socket] = []
        for _ in range(count):
            with contextlib.suppress(OSError):  # refused, or cut off already
                connection = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
                connections.append(open_ones.enter_context(connection))
        assert connections
        _send(connections, memoryview(sent))
        for connection in connections:
            connection.settimeout(ANSWER_SECONDS)
        yield connections


def _send(connections: list[socket.socket], sent: memoryview) -> None:
    left = dict.fromkeys(connections, sent)
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_WRITE)
        latest = time.monotonic()
        while left and time.monotonic() - latest < STALLED_SECONDS:
            for key, _ in selector.select(STALLED_SECONDS):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    left[connection] = left[connection][connection.send(left[connection][:1_000_000]) :]
                except OSError:  # it was cut off
                    left[connection] = sent[:0]
                latest = time.monotonic()
                if not left[connection]:
                    del left[connection]
                    selector.unregister(connection)


def answer(connection: socket.socket) -> bytes:
    """Return the beginning of what a connection got; nothing when it was cut off, or gets no answer."""
    with contextlib.suppress(OSError):
        return connection.recv(4096)
    return b""
