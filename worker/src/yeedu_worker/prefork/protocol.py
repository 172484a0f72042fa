"""What client, server and child say to each other, over one connection for each flow run.

Messages of a ``SOCK_SEQPACKET`` connection, in order:

1. client to server: `ASK`, with five open files: the request, stdin, stdout, stderr, and the lifeline, a pipe
   that nobody writes to and whose other end only the client holds.
2. server or child to client: `DECLINE` and the reason; or, from the child, `READY` and its process number,
   with two pidfds, its own and its guard's.
3. client to child: `GO`. Only now does the run begin: a client that gives up before has started nothing.
4. guard, or server if the guard was killed, to client: `STATUS` and the child's status from ``waitpid``.

A keeper sends `PING` and gets `PONG`.

The client imports this module, so it imports next to nothing itself.
"""

import marshal
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
else:
    import _socket as socket  # the module around it imports selectors and enum: half of the client's time

ASK = b"ask yeedu-prefork 3"
PING = b"ping"
PONG = b"pong"
DECLINE = b"decline "
READY = b"ready "
GO = b"go"
STATUS = b"status "

ADDRESS_VARIABLE = "YEEDU_PREFORK_SOCKET"
MESSAGE_BYTES = 4096
LEFT_OUT_CODE = 3  # a server's exit code if it cannot be used with this Prefect
FILES = 5
_INT_BYTES = 4


class Request(NamedTuple):
    """What a process inherits from the one that starts it, besides open files.

    Attributes:
        executable: The interpreter that the client runs in.
        arguments: What follows ``python -m prefect.engine``.
        directory: The working directory.
        environment: Every variable.
        umask: The file mode creation mask.
        limits: Resource limits, soft and hard, by number.
        niceness: The scheduling priority.
        processors: The processors that it may run on.
    """

    executable: str
    arguments: list[str]
    directory: bytes
    environment: dict[bytes, bytes]
    umask: int
    limits: dict[int, tuple[int, int]]
    niceness: int
    processors: list[int]


def write_request(request: Request) -> int:
    """Return an in-memory file that holds the request; an environment may be too long for a message."""
    file = os.memfd_create("request")
    with open(os.dup(file), "wb") as stream:  # noqa: PTH123 - pathlib costs the client milliseconds
        marshal.dump(tuple(request), stream)
    return file


def read_request(file: int) -> Request:
    """Read what `write_request` wrote.

    Raises:
        ValueError, EOFError, TypeError: It is not a request of this version.
    """
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, "rb", closefd=False) as stream:
        return Request(*marshal.load(stream))  # noqa: S302 - written by this user's own client


def send_with_files(connection: "socket.socket", message: bytes, files: list[int]) -> None:
    """Send one message with open files.

    Raises:
        OSError: The other side is gone.
    """
    numbers = b"".join(file.to_bytes(_INT_BYTES, sys.byteorder) for file in files)
    connection.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)], socket.MSG_NOSIGNAL)


def receive_with_files(connection: "socket.socket") -> tuple[bytes, list[int]]:
    """Receive one message with its open files; an empty message means that the other side is gone.

    Raises:
        OSError: The connection broke or timed out.
    """
    space = socket.CMSG_SPACE(FILES * _INT_BYTES)
    message, ancillary, _, _ = connection.recvmsg(MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    files: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            whole = len(data) - len(data) % _INT_BYTES
            files += [
                int.from_bytes(data[start : start + _INT_BYTES], sys.byteorder)
                for start in range(0, whole, _INT_BYTES)
            ]
    return message, files
