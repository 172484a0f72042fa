"""The warm parent: forks one child for each flow run, when a `client` asks.

Usage: ``python -m yeedu_worker.prefork.server LISTENER WORKER RECORD``, three open files: the listening
socket, a pipe that is closed when the worker ends, and the record of its children. Has one thread and no
signal handlers, since children inherit both. Each child is a guard, and forks the flow run's process itself.
Children outlive the server: each belongs to its client.
"""

import contextlib
import os
import select
import socket
import struct
import sys
from dataclasses import dataclass, field

from yeedu_worker.patches.run_settings import SettingsOfRuns
from yeedu_worker.prctl import adopt_orphans
from yeedu_worker.prefork import protocol
from yeedu_worker.prefork.child import Assignment, run
from yeedu_worker.prefork.preload import LeftOutError, Preloaded, preload
from yeedu_worker.prefork.record import Record
from yeedu_worker.process_tree import end_children

Child = tuple[socket.socket, int]


@dataclass
class Server:
    """The state of the loop; open files are keys by their numbers.

    Attributes:
        listener: Where clients connect.
        worker: Readable once the worker has ended.
        record: Which children there are, for the process that adopts them.
        preloaded: What was imported.
        is_stale: Whether a file that was imported has changed.
        settings: Prefect's settings in the environments of earlier requests.
        asking: Connections whose request has not come yet.
        running: Connection and process number of every child, by its pidfd.
    """

    listener: socket.socket
    worker: int
    record: Record
    preloaded: Preloaded
    is_stale: bool = False
    settings: SettingsOfRuns = field(default_factory=SettingsOfRuns)
    asking: dict[int, socket.socket] = field(default_factory=dict[int, socket.socket])
    running: dict[int, Child] = field(default_factory=dict[int, Child])

    def serve(self) -> Assignment | None:
        """Serve until the worker ends or an imported file changes.

        Returns:
            In a child, what it has to do; in the server, when it is time to end, ``None``.
        """
        while True:
            waiting = select.poll()
            for file in (self.listener.fileno(), self.worker, *self.asking, *self.running):
                waiting.register(file, select.POLLIN)
            for file, _ in waiting.poll():
                if file == self.worker:
                    return None
                if file == self.listener.fileno():
                    connection, _ = self.listener.accept()
                    self.asking[connection.fileno()] = connection
                elif file in self.running:
                    self._report_end(file)
                else:
                    assignment = self._answer(self.asking.pop(file))
                    if assignment or self.is_stale:
                        return assignment

    def _answer(self, connection: socket.socket) -> Assignment | None:
        """Read a client's request, and answer it. Returns in a new child as well, with its assignment."""
        files: list[int] = []
        try:
            message, files = protocol.receive_with_files(connection)
            if message == protocol.PING:
                self.is_stale = bool(self.preloaded.changed_file())
                connection.send(protocol.PONG, socket.MSG_NOSIGNAL)
            elif message == protocol.ASK and len(files) == protocol.FILES:
                request = protocol.read_request(files[0])
                if reason := self._reason_against(connection, request):
                    connection.send(protocol.DECLINE + reason.encode(), socket.MSG_NOSIGNAL)
                else:
                    settings = self.settings.of(request.environment, request.directory)
                    mine = [connection.fileno(), self.listener.fileno(), *files, *self.asking, *self.running]
                    mine += [file.fileno() for file, _ in self.running.values()]
                    if not (child := os.fork()):
                        shelf = self.preloaded.shelf
                        return Assignment(request, files, connection, shelf, settings, max(mine))
                    self.running[os.pidfd_open(child)] = (connection, child)
                    self.record.write(self._children())
                    _close(files)
                    return None
        except (OSError, EOFError, TypeError, ValueError) as error:
            _say(f"a request was dropped: {error!r}")
        _close(files)
        connection.close()
        return None

    def _reason_against(self, connection: socket.socket, request: protocol.Request) -> str:
        """Return why a fork of this process cannot serve the request, or an empty string."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] != os.geteuid():
            return "the prefork server belongs to another user"
        if request.executable != sys.executable:
            return f"the prefork server runs another Python, {sys.executable}"
        if file := self.preloaded.changed_file():
            self.is_stale = True
            return f"{file} has changed since the prefork server started"
        if name := self.preloaded.differing_variable(request.environment):
            return f"{name} has another value than in the prefork server, which imports depend on"
        return ""

    def _children(self) -> set[int]:
        return {child for _, child in self.running.values()}

    def _report_end(self, pidfd: int) -> None:
        """Record the end of a child; if it was killed, do the work of that guard."""
        connection, child = self.running.pop(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(child, 0)
        self.record.write(self._children())
        if status and not end_children(self._children()):
            _say("some processes of a flow run whose guard was killed could not be ended")
        with connection, contextlib.suppress(OSError):
            if status:
                connection.send(
                    protocol.STATUS + str(status).encode(), socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
                )


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _say(text: str) -> None:
    print(f"yeedu-prefork: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Import everything and serve; in a child, run the flow run."""
    listener, worker, record = (int(argument) for argument in sys.argv[1:])
    for file in (listener, worker, record):
        os.set_inheritable(file, False)
    with contextlib.suppress(OSError):  # if the kernel refuses, the watchdog adopts what they leave
        adopt_orphans()
    try:
        preloaded = preload()
    except LeftOutError as error:
        _say(f"left out, flow runs start without it: {error}")
        sys.exit(protocol.LEFT_OUT_CODE)
    server = Server(socket.socket(fileno=listener), worker, Record(record), preloaded)
    _say("ready")
    assignment = server.serve()
    del server, preloaded
    if assignment:
        run(assignment)


if __name__ == "__main__":
    main()
