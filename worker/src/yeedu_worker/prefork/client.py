"""The command of the work pool: runs ``prefect.engine`` for one flow run, in a child of the prefork server.

The worker sees an ordinary process: signals sent to it reach the child, the child's output is its output, its
exit is the child's exit, and killing it kills the child. Where there is no server fit to ask, it runs
``python -m prefect.engine``, the stock command, and says why in one line. Either way a guard (`guard`) stands
over what the flow run starts.
"""

import os
import select
import sys
from typing import TYPE_CHECKING, NoReturn

from yeedu_worker.prefork import protocol
from yeedu_worker.prefork.limits import limit_files

# Imports make up most of this program's time: `signal` and `socket` would double it.
if TYPE_CHECKING:
    import signal
    import socket
elif sys.platform == "linux":
    import _signal as signal
    import _socket as socket

# A machine so busy that the server takes seconds would be worse off with interpreters of the runs' own.
ANSWER_SECONDS = 20.0
# A guard ends what is left of a run before it tells how the run ended.
_STATUS_SECONDS = 15.0


class NoChildError(Exception):
    """The prefork server cannot run this flow run; the message says why."""


class _Child:
    """The process that runs the flow, and the leader of the group of what the flow starts.

    Args:
        file: A pidfd of it.
        guard: A pidfd of the process that ends what it leaves.
        number: Its process number, and its group's.
    """

    def __init__(self, file: int, guard: int, number: int) -> None:
        self.file = file
        self.guard = guard
        self._number = number

    def relay(self, number: int) -> None:
        """Pass a signal on; one that ends the flow run, to all that the flow has started as well."""
        try:
            if number == signal.SIGTERM:
                os.killpg(self._number, number)
            else:
                signal.pidfd_send_signal(self.file, number)
        except ProcessLookupError:
            return  # it has ended, and so does this process in a moment

    def end(self) -> None:
        """Kill a guard that does not do its work, and so all that it stands over."""
        try:
            signal.pidfd_send_signal(self.guard, signal.SIGKILL)
        except ProcessLookupError:
            return


def main() -> NoReturn:
    """Run the flow run that the environment names, and leave as its process left."""
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
    """Have the server fork a child, wait for it, and leave as it left.

    Raises:
        NoChildError: No child has begun to run, and none will.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(ANSWER_SECONDS)
    lifeline_end, lifeline = os.pipe()  # `lifeline` stays open in this process alone, until it ends
    try:
        connection.connect(address)
        _ask(connection, lifeline_end)
        child = _await_child(connection)
    except (OSError, NoChildError) as error:
        connection.close()  # a child that should still come finds nobody to tell it to go
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
    """Send the request. A standard file that is closed here is an empty one in the child."""
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
    """Return the signals that somebody may send to stop or to tell something to a flow run."""
    return [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]


def _await_end(connection: "socket.socket", child: int) -> int | None:
    """Wait for the child's end; return its wait status, or ``None`` when nobody is left to tell.

    The child's guard tells it; of a guard that was killed, the server does.
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
        if not ready:  # a guard that hangs does not tell
            return None
        has_ended = True
        waiting.unregister(child)


def _receive(connection: "socket.socket") -> bytes:
    try:
        return connection.recv(protocol.MESSAGE_BYTES)
    except OSError:
        return b""


def _leave_like(status: int | None) -> NoReturn:
    """End as a process with that wait status ended; one of which nothing is known was killed."""
    if status is not None and not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    from yeedu_worker.prefork.guard import leave_like

    leave_like(int(signal.SIGKILL) if status is None else status)


if __name__ == "__main__":
    main()
