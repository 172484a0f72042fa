"""The command of the work pool: runs ``prefect.engine`` for one flow run, in a child of the prefork server.

The worker sees an ordinary process: signals sent to it reach the child, the child's output is its output, its
exit is the child's exit, and killing it kills the child. Where there is no server fit to ask, it becomes
``python -m prefect.engine``, the stock command, and says why in one line.
"""

import os
import select
import sys
from typing import TYPE_CHECKING, NoReturn

from yeedu_worker.prefork import protocol

# Imports make up most of this program's time: `signal` and `socket` would double it.
if TYPE_CHECKING:
    import signal
    import socket
elif sys.platform == "linux":
    import _signal as signal
    import _socket as socket

# A machine so busy that the server takes seconds would be worse off with interpreters of the runs' own.
ANSWER_SECONDS = 20.0
_STATUS_SECONDS = 2.0


class NoChildError(Exception):
    """The prefork server cannot run this flow run; the message says why."""


class _Child:
    """The process that runs the flow, and the leader of the group of what the flow starts.

    Args:
        file: A pidfd of it.
        number: Its process number, and its group's.
    """

    def __init__(self, file: int, number: int) -> None:
        self.file = file
        self._number = number
        self._is_terminated = False

    def relay(self, number: int) -> None:
        """Pass a signal on; one that ends the flow run, to all that the flow has started as well."""
        try:
            if number == signal.SIGTERM:
                self._is_terminated = True
                os.killpg(self._number, number)
            else:
                signal.pidfd_send_signal(self.file, number)
        except ProcessLookupError:
            return  # it has ended, and so does this process in a moment

    def end_what_is_left(self) -> None:
        """Kill what a terminated flow has left behind; what others leave is meant to stay."""
        if self._is_terminated:
            try:
                os.killpg(self._number, signal.SIGKILL)
            except ProcessLookupError:
                return


def main() -> NoReturn:
    """Run the flow run that the environment names, and leave as its process left."""
    address = os.environ.pop(protocol.ADDRESS_VARIABLE, "")
    if address and sys.platform == "linux":
        try:
            _run_in_child(address)
        except NoChildError as error:
            print(f"yeedu-flow-run: {error}; running python -m prefect.engine instead", file=sys.stderr)
    _become_the_engine()


def _become_the_engine() -> NoReturn:
    command = [sys.executable, "-m", "prefect.engine", *sys.argv[1:]]
    if sys.platform == "win32":  # where exec leaves the worker waiting for a process that is gone
        import subprocess

        sys.exit(subprocess.run(command, check=False).returncode)
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell


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
        _leave_by_signal(signal.SIGKILL)
    status = _await_end(connection, child.file)
    child.end_what_is_left()
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
    if message.startswith(protocol.READY) and len(files) == 1:
        return _Child(files[0], int(message.removeprefix(protocol.READY)))
    if message.startswith(protocol.DECLINE):
        raise NoChildError(message.removeprefix(protocol.DECLINE).decode(errors="replace"))
    raise NoChildError("the prefork server ended while it was asked")


def _relayed_signals() -> list[int]:
    """Return the signals that somebody may send to stop or to tell something to a flow run."""
    return [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]


def _await_end(connection: "socket.socket", child: int) -> int | None:
    """Wait for the child's end; return its wait status, or ``None`` when nobody is left to tell.

    The server knows the status. When it is gone, the child's last words have to do.
    """
    connection.setblocking(False)
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    waiting.register(child, select.POLLIN)
    last_words: int | None = None
    has_ended = is_closed = False
    while not (has_ended and is_closed):
        ready = [file for file, _ in waiting.poll(_STATUS_SECONDS * 1000 if has_ended else None)]
        if not ready:  # a server that hangs does not tell
            break
        if child in ready:
            has_ended = True
            waiting.unregister(child)
        if connection.fileno() in ready:
            message = _receive(connection)
            if message.startswith(protocol.STATUS):
                return int(message.removeprefix(protocol.STATUS))
            if message.startswith(protocol.ENDING):
                last_words = int(message.removeprefix(protocol.ENDING)) << 8
            elif not message:
                is_closed = True
                waiting.unregister(connection.fileno())
    return last_words


def _receive(connection: "socket.socket") -> bytes:
    try:
        return connection.recv(protocol.MESSAGE_BYTES)
    except OSError:
        return b""


def _leave_like(status: int | None) -> NoReturn:
    """End as a process with that wait status ended; one of which nothing is known was killed."""
    if status is None:
        _leave_by_signal(signal.SIGKILL)
    if os.WIFSIGNALED(status):
        _leave_by_signal(os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def _leave_by_signal(number: int) -> NoReturn:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


if __name__ == "__main__":
    main()
