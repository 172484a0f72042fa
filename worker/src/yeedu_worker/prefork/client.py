"""The command of the work pool: runs ``prefect.engine`` for one flow run, in a child of the prefork server.

The worker sees an ordinary process: signals sent to it reach the child, its output and its exit are the
child's, and killing it kills the child. If no suitable server answers, it runs the stock command,
``python -m prefect.engine``, and says why in one line. Either way a guard (`guard`) watches over what the
flow run starts.
"""

import os
import select
import sys
from typing import TYPE_CHECKING, NoReturn

from yeedu_worker.prefork import protocol
from yeedu_worker.prefork.limits import limit_files

# Imports take most of this program's time: `signal` and `socket` would double it.
if TYPE_CHECKING:
    import signal
    import socket
elif sys.platform == "linux":
    import _signal as signal
    import _socket as socket

# If the machine is so busy that the server takes seconds, starting an interpreter for each run is worse.
ANSWER_SECONDS = 20.0
# A guard ends what is left of a run before it reports how the run ended.
_STATUS_SECONDS = 15.0


class NoChildError(Exception):
    """The prefork server cannot run this flow run; the message says why."""


class _Child:
    """The process that runs the flow; it leads the process group of what the flow starts.

    Args:
        file: A pidfd of it.
        guard: A pidfd of the process that ends what it leaves behind.
        number: Its process number, and its group's.
    """

    def __init__(self, file: int, guard: int, number: int) -> None:
        self.file = file
        self.guard = guard
        self._number = number

    def relay(self, number: int) -> None:
        """Pass a signal on; SIGTERM, which ends the flow run, to all that the flow has started as well."""
        try:
            if number == signal.SIGTERM:
                os.killpg(self._number, number)
            else:
                signal.pidfd_send_signal(self.file, number)
        except ProcessLookupError:
            return  # it has ended, and so does this process in a moment

    def end(self) -> None:
        """Kill a guard that hangs, and so everything that it watches over."""
        try:
            signal.pidfd_send_signal(self.guard, signal.SIGKILL)
        except ProcessLookupError:
            return


def main() -> NoReturn:
    """Run the flow run that the environment names, and exit as its process did."""
    address = os.environ.pop(protocol.ADDRESS_VARIABLE, "")
    if sys.platform == "linux":
        limit_files(os.environ)
    if address and sys.platform == "linux":
        try:
            _run_in_child(address)
        except NoChildError as error:
            print(f"yeedu-flow-run: {error}; running python -m prefect.engine instead", file=sys.stderr)
    _run_the_engine()


def _run_the_engine() -> NoReturn:
    command = [sys.executable, "-m", "prefect.engine", *sys.argv[1:]]
    if sys.platform != "linux":
        import subprocess

        sys.exit(subprocess.run(command, check=False).returncode)
    from yeedu_worker.prefork.guard import run_guarded

    sys.stderr.flush()
    run_guarded(command, os.environ)


def _run_in_child(address: str) -> NoReturn:
    """Have the server fork a child, wait for it, and exit as it did.

    Raises:
        NoChildError: No child has begun to run, and none will.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(ANSWER_SECONDS)
    lifeline_end, lifeline = os.pipe()  # `lifeline` stays open only in this process, until it ends
    try:
        connection.connect(address)
        _ask(connection, lifeline_end)
        child = _await_child(connection)
    except (OSError, NoChildError) as error:
        connection.close()  # a child that is forked later finds nobody to tell it to go
        os.close(lifeline)
        reason = str(error) if isinstance(error, NoChildError) else _explain(error)
        raise NoChildError(reason) from None
    finally:
        os.close(lifeline_end)
    for number in _relayed_signals():
        signal.signal(number, lambda relayed, _frame: child.relay(relayed))
    try:
        connection.send(protocol.GO, socket.MSG_NOSIGNAL)
    except OSError:
        _leave_like(None)
    status = _await_end(connection, child.file)
    if status is None:
        child.end()
    _leave_like(status)


def _explain(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"the prefork server did not answer within {ANSWER_SECONDS:.0f} s"
    return f"the prefork server cannot be reached: {error.strerror or error}"


def _ask(connection: "socket.socket", lifeline: int) -> None:
    """Send the request. A standard file that is closed here is empty in the child."""
    import resource

    umask = os.umask(0)
    os.umask(umask)
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    request = protocol.Request(
        executable=sys.executable,
        arguments=sys.argv[1:],
        directory=os.getcwdb(),  # noqa: PTH109 - pathlib costs milliseconds
        environment=dict(os.environb),
        umask=umask,
        limits={number: resource.getrlimit(number) for number in {getattr(resource, name) for name in names}},
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        processors=sorted(os.sched_getaffinity(0)),
    )
    file = protocol.write_request(request)
    nothing = os.open(os.devnull, os.O_RDWR)
    standard = [number if _is_open(number) else nothing for number in range(3)]
    protocol.send_with_files(connection, protocol.ASK, [file, *standard, lifeline])
    os.close(file)
    os.close(nothing)


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def _await_child(connection: "socket.socket") -> "_Child":
    """Return the child that is ready to run.

    Raises:
        NoChildError: The server declined, or died.
        OSError: It does not answer.
    """
    message, files = protocol.receive_with_files(connection)
    if message.startswith(protocol.READY) and len(files) == 2:
        return _Child(files[0], files[1], int(message.removeprefix(protocol.READY)))
    if message.startswith(protocol.DECLINE):
        raise NoChildError(message.removeprefix(protocol.DECLINE).decode(errors="replace"))
    raise NoChildError("the prefork server ended while it was asked")


def _relayed_signals() -> list[int]:
    """Return the signals that may be sent to a flow run to stop or notify it."""
    return [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]


def _await_end(connection: "socket.socket", child: int) -> int | None:
    """Wait for the child's end; return its wait status, or ``None`` if nobody is left to report it.

    The child's guard reports it; if the guard was killed, the server does.
    """
    connection.setblocking(False)
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    waiting.register(child, select.POLLIN)
    has_ended = False
    while True:
        ready = [file for file, _ in waiting.poll(_STATUS_SECONDS * 1000 if has_ended else None)]
        if connection.fileno() in ready:
            message = _receive(connection)
            return int(message.removeprefix(protocol.STATUS)) if message.startswith(protocol.STATUS) else None
        if not ready:  # the guard hangs
            return None
        has_ended = True
        waiting.unregister(child)


def _receive(connection: "socket.socket") -> bytes:
    try:
        return connection.recv(protocol.MESSAGE_BYTES)
    except OSError:
        return b""


def _leave_like(status: int | None) -> NoReturn:
    """End as a process with that wait status ended; without one, as if killed."""
    if status is not None and not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    from yeedu_worker.prefork.guard import leave_like

    leave_like(int(signal.SIGKILL) if status is None else status)


if __name__ == "__main__":
    main()
