"""Keeps a prefork server running for as long as the worker runs.

Usage: ``python -m yeedu_worker.prefork.keeper LISTENER WORKER``, two open files: the listening socket, and a
pipe that is closed when the worker ends. The socket stays open while one server follows another: clients wait
in its queue instead of finding nobody.
"""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from yeedu_worker.prefork import protocol

CHECK_SECONDS = 10.0
ANSWER_SECONDS = 20.0  # as patient as clients: a new one is the last thing that a busy machine needs
START_SECONDS = 180.0
LEAST_PAUSE_SECONDS = 1.0
MOST_PAUSE_SECONDS = 30.0


class Keeper:
    """Starts servers one after the other.

    Args:
        listener: Where clients connect; its address is a path.
        worker: The reading end of a pipe whose other end the worker holds.
    """

    def __init__(self, listener: socket.socket, worker: int) -> None:
        self._listener = listener
        self._worker = worker
        self._address = str(listener.getsockname())

    def run(self) -> None:
        """Keep a server running until the worker ends, then remove the socket."""
        pause_seconds = 0.0
        while not self._worker_ends_within(pause_seconds):
            if self._run_server():
                pause_seconds = 0.0
            else:
                pause_seconds = min(max(2 * pause_seconds, LEAST_PAUSE_SECONDS), MOST_PAUSE_SECONDS)
        folder = Path(self._address).parent
        Path(self._address).unlink(missing_ok=True)
        folder.rmdir()

    def _run_server(self) -> bool:
        """Run one server to its end; end it when it hangs, or when the worker ends.

        Returns:
            Whether it ever answered.
        """
        files = (self._listener.fileno(), self._worker)
        command = [sys.executable, "-m", "yeedu_worker.prefork.server", *map(str, files)]
        with subprocess.Popen(command, pass_fds=files, stdin=subprocess.DEVNULL) as server:
            is_useful = self._answers(START_SECONDS, server)
            answers = is_useful
            while answers and server.poll() is None:
                if self._worker_ends_within(CHECK_SECONDS, server):
                    server.terminate()
                    break
                answers = self._answers(ANSWER_SECONDS, server)
            if not answers:
                server.kill()  # its children live on: they belong to their clients
        return is_useful

    def _answers(self, within_seconds: float, server: "subprocess.Popen[bytes]") -> bool:
        """Whether a server answers; the time includes that in which it starts."""
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
            contextlib.suppress(OSError),
        ):
            connection.settimeout(within_seconds)
            connection.connect(self._address)
            connection.send(protocol.PING)
            ready = _wait_for([connection.fileno()], within_seconds, server)
            return bool(ready) and connection.recv(protocol.MESSAGE_BYTES) == protocol.PONG
        return False

    def _worker_ends_within(self, seconds: float, server: "subprocess.Popen[bytes] | None" = None) -> bool:
        """Wait for the end of the worker, or of the server; return whether it was the worker's.

        Between two servers, clients are told that there is none, so that they do not wait.
        """
        deadline = time.monotonic() + seconds
        files = [self._worker] if server else [self._worker, self._listener.fileno()]
        while True:
            ready = _wait_for(files, deadline - time.monotonic(), server)
            if self._listener.fileno() not in ready or not seconds:
                return self._worker in ready
            with self._listener.accept()[0] as connection, contextlib.suppress(OSError):
                connection.send(protocol.DECLINE + b"no prefork server could be started", socket.MSG_NOSIGNAL)


def _wait_for(files: list[int], seconds: float, server: "subprocess.Popen[bytes] | None") -> list[int]:
    """Return which files are readable, at the latest after the time or when the server has ended."""
    waiting = select.poll()
    for file in files:
        waiting.register(file, select.POLLIN)
    pidfd = os.pidfd_open(server.pid) if server else -1
    if server:
        waiting.register(pidfd, select.POLLIN)
    ready = [file for file, _ in waiting.poll(max(seconds, 0) * 1000)]
    if server:
        os.close(pidfd)
    return ready


def start(folder: Path) -> str:
    """Open the socket in a private folder and start a keeper, which ends with this process.

    This process may become another program. The keeper notices its end by a pipe that it leaves open.

    Args:
        folder: Exists, and is this user's alone.

    Returns:
        The address, for the environment of clients.

    Raises:
        OSError: The socket cannot be opened, or the keeper not started.
    """
    address = str(folder / "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    os.chmod(address, 0o600)  # noqa: PTH101
    listener.listen(128)
    worker_ends, worker = os.pipe()
    os.set_inheritable(worker, True)
    files = (listener.fileno(), worker_ends)
    subprocess.Popen(
        [sys.executable, "-m", "yeedu_worker.prefork.keeper", *map(str, files)],
        pass_fds=files,
        stdin=subprocess.DEVNULL,
    )
    listener.close()
    os.close(worker_ends)
    return address


def main() -> None:
    """Keep a server running."""
    listener, worker = (int(argument) for argument in sys.argv[1:])
    Keeper(socket.socket(fileno=listener), worker).run()


if __name__ == "__main__":
    main()
