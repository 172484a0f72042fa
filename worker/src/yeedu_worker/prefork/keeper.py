"""Keeps a prefork server running for as long as the worker runs, in a thread of their watchdog.

The socket stays open while the server restarts: clients wait in its queue instead of finding nobody.
"""

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from yeedu_worker.prefork import protocol
from yeedu_worker.prefork.record import Record

CHECK_SECONDS = 10.0
ANSWER_SECONDS = 20.0  # as long as clients wait: a busy machine does not need a restart on top
START_SECONDS = 180.0
LEAST_PAUSE_SECONDS = 1.0
MOST_PAUSE_SECONDS = 30.0
STOP_SECONDS = 10.0
_LEFT_OUT_SECONDS = 86_400.0  # trying again sooner would find the same Prefect


class Keeper:
    """Starts servers one after the other.

    Args:
        folder: For the socket. Exists, empty and private to this user; removed when the keeper stops.

    Attributes:
        address: The socket's, for the environment of clients.
        lock: Held while a server is started, and by whoever kills unknown children of this process.

    Raises:
        OSError: The socket cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "socket")
        self.lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.address)
        os.chmod(self.address, 0o600)  # noqa: PTH101
        self._listener.listen(128)
        self._worker, self._end = os.pipe()  # tells the server when this process ends
        self._record = Record()
        self._server = 0
        self._is_left_out = False
        self._left: set[int] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread that keeps a server running."""
        self._thread.start()

    def stop(self) -> None:
        """End the server, and remove the socket."""
        os.close(self._end)
        self._thread.join(STOP_SECONDS)

    def children(self) -> set[int]:
        """Return the keeper's children among those of this process: the server, and what earlier ones left.

        Guards of flow runs belong to their clients, so they outlive their server.
        """
        for child in list(self._left):
            try:
                has_ended = os.waitpid(child, os.WNOHANG)[0] == child
            except ChildProcessError:
                has_ended = not Path(f"/proc/{child}").exists()  # else its server is about to end
            if has_ended:
                self._left.discard(child)
        return {self._server, *self._left, *self._record.read()}

    def _run(self) -> None:
        """Keep a server running until the worker ends, then remove the socket."""
        pause_seconds = 0.0
        while not self._worker_ends_within(pause_seconds):
            if self._run_server():
                pause_seconds = 0.0
            elif self._is_left_out:
                pause_seconds = _LEFT_OUT_SECONDS
            else:
                pause_seconds = min(max(2 * pause_seconds, LEAST_PAUSE_SECONDS), MOST_PAUSE_SECONDS)
        folder = Path(self.address).parent
        Path(self.address).unlink(missing_ok=True)
        folder.rmdir()

    def _run_server(self) -> bool:
        """Run one server until it ends; end it if it hangs, or when the worker ends.

        Returns:
            Whether it ever answered.
        """
        files = (self._listener.fileno(), self._worker, self._record.file)
        command = [
            sys.executable,
            "-m",
            "yeedu_worker.run_protected",
            "yeedu_worker.prefork.server",
            *map(str, files),
        ]
        with self.lock:
            server = subprocess.Popen(command, pass_fds=files, stdin=subprocess.DEVNULL)
            self._server = server.pid
        with server:
            is_useful = self._answers(START_SECONDS, server)
            answers = is_useful
            while answers and server.poll() is None:
                if self._worker_ends_within(CHECK_SECONDS, server):
                    server.terminate()
                    break
                answers = self._answers(ANSWER_SECONDS, server)
            if not answers:
                server.kill()  # its children live on: they belong to their clients
        self._is_left_out = server.returncode == protocol.LEFT_OUT_CODE
        with self.lock:
            self._left |= self._record.read()
            self._record.write(())
        return is_useful

    def _answers(self, within_seconds: float, server: "subprocess.Popen[bytes]") -> bool:
        """Tell whether a server answers in time; the time includes that of its start."""
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
            contextlib.suppress(OSError),
        ):
            connection.settimeout(within_seconds)
            connection.connect(self.address)
            connection.send(protocol.PING)
            ready = _wait_for([connection.fileno()], within_seconds, server)
            is_answered = connection.fileno() in ready  # and not only the server's end
            return is_answered and connection.recv(protocol.MESSAGE_BYTES) == protocol.PONG
        return False

    def _worker_ends_within(self, seconds: float, server: "subprocess.Popen[bytes] | None" = None) -> bool:
        """Wait for the end of the worker, of the server or of the time; return whether the worker ended.

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
    """Wait until a file is readable, the server has ended, or time is up; return which files are readable."""
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
