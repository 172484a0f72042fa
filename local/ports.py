"""Tells whether a TCP port is free, and which process holds it (Linux)."""

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from local.errors import CommandError

_LISTEN = "0A"
_COMMAND_LENGTH = 100


@dataclass(frozen=True)
class Holder:
    """The process that listens on a port."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def is_free(address: str, port: int, *, for_engine: bool = False) -> bool:
    """Tell whether a server can listen on the port now.

    Args:
        address: The address to listen on.
        port: The port's number.
        for_engine: Whether the Docker engine will listen, which needs no privileges for ports below 1024.

    Raises:
        CommandError: The machine has no such address, or the port needs privileges.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not count
        try:
            server.bind((address, port))
            server.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno == errno.EACCES and for_engine:
                return not _listening_inodes(port, Path("/proc"))
            raise CommandError(f"{address}:{port} cannot be listened on: {error.strerror}") from None
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def holder(port: int, proc: Path = Path("/proc")) -> Holder | None:
    """Return the process that listens on the port if this user may see it, else ``None``."""
    inodes = _listening_inodes(port, proc)
    if not inodes:
        return None
    targets = {f"socket:[{inode}]" for inode in inodes}
    for folder in proc.iterdir():
        if folder.name.isdecimal() and _has_open(folder, targets):
            return Holder(int(folder.name), _command(folder))
    return None


def port_taken(setting: str, port: int, by: str) -> CommandError:
    """Return the error for a port that something else holds."""
    return CommandError(
        f"port {port} is already in use by {by}; nothing was started. "
        f"End it, or choose another port: make up {setting}={port + 1000 if port < 64000 else port - 1000}"
    )


def _listening_inodes(port: int, proc: Path) -> set[str]:
    """Read the kernel's socket tables; a line has: slot, local address, remote address, state, ..., inode."""
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            local_port = int(fields[1].rpartition(":")[2], 16)
            if local_port == port and fields[3] == _LISTEN:
                inodes.add(fields[9])
    return inodes


def _has_open(folder: Path, targets: set[str]) -> bool:
    try:
        return any(str(link.readlink()) in targets for link in (folder / "fd").iterdir())
    except OSError:
        return False  # it ended meanwhile, or is another user's


def _command(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "unknown command"
    command = b" ".join(words).decode(errors="replace").strip() or "unknown command"
    return command if len(command) <= _COMMAND_LENGTH else command[: _COMMAND_LENGTH - 1] + "…"
