"""Starts, configures and stops supervisord, which restarts processes and rotates their logs.

Of the maintained supervisors, it is the one that pip installs, that is controlled only over a unix socket,
and that neither needs a compiler (circus: zeromq, and TCP by default), nor leaves a dead process dead
(honcho), nor comes as one binary for each machine (process-compose).
"""

import http.client
import os
import socket
import subprocess
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from local.errors import CommandError
from local.install.virtual_environment import PROGRAMS
from local.processes.process_tree import await_end, living_processes
from local.settings.platform import ROOT

# Its states of a process; https://supervisord.org/subprocess.html says how they follow each other.
STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL = 10, 20, 30, 40, 100, 200
_WORKING_FOLDER = Path("/proc/self/cwd")  # Linux: a socket there has a short path
_LONGEST_SOCKET = 90  # of 103 bytes on macOS; supervisord appends its number while it makes one
_ANSWER_SECONDS = 30.0
_START_SECONDS = 30.0
_END_SECONDS = 10.0
# Longer than any caller waits before it kills the process itself: `make drain` waits for a day.
_STOP_SECONDS = 2 * 86400
_BASE = """\
[supervisord]
logfile = supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = supervisord.pid
nocleanup = true
{user}
[unix_http_server]
file = {socket}
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """
[program:{name}]
command = python -P -m local.processes.launch processes/{name}.json
autostart = false
autorestart = {restarts}
startsecs = {start_seconds}
startretries = {retries}
stopwaitsecs = {stop_seconds}
redirect_stderr = true
stdout_logfile = logs/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""


def program(name: str, *, restarts: bool, retries: int, start_seconds: int) -> str:
    """Return supervisord's configuration of a process, without its command, settings or secrets.

    Args:
        name: The process; its record and its log have the same name.
        restarts: Whether to restart it when it ends.
        retries: How often, a second later each time, before it is given up.
        start_seconds: How long it has to run to count as started.
    """
    return _PROGRAM.format(
        name=name,
        restarts=str(restarts).lower(),
        start_seconds=start_seconds if restarts else 0,
        retries=retries if restarts else 0,
        stop_seconds=_STOP_SECONDS,
    )


class Supervisord:
    """The supervisord of one folder, which holds ``supervisord.conf``, its log, its number and its socket.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "supervisor.sock"
        self.log = folder / "supervisord.log"
        self._configuration = folder / "supervisord.conf"

    def ask(self, method: str, *arguments: Any) -> Any:
        """Return its answer to a call of an XML-RPC method; ``None`` if it does not run, or refuses.

        Raises:
            CommandError: It runs but does not answer, so nothing may be taken for dead.
        """
        if not hasattr(socket, "AF_UNIX"):  # Windows, where none runs
            return None
        path = min(str(self._socket), os.path.relpath(self._socket), key=len)
        server = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_UnixTransport(path))
        try:
            with server:
                return getattr(server.supervisor, method)(*arguments)
        except (FileNotFoundError, ConnectionError, http.client.HTTPException, xmlrpc.client.Fault):
            return None
        except OSError as error:
            raise CommandError(f"supervisord does not answer at {self._socket}: {error}") from None

    def is_running(self) -> bool:
        """Tell whether it runs and answers."""
        return self.ask("getState") is not None

    def configure(self, name: str, programs: Iterable[str]) -> None:
        """Write the configuration of all processes, and have supervisord load it, or start supervisord.

        Args:
            name: The process that is added; it must not run.
            programs: The configuration of each process, from `program`.

        Raises:
            CommandError: It does not start, or refuses its configuration.
        """
        folder = _WORKING_FOLDER if _WORKING_FOLDER.exists() else self._folder.absolute()
        path = str(folder / self._socket.name)
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            raise CommandError(f"{self._folder} is too long a path for a socket; move the checkout up")
        user = "user = 0\n" if os.geteuid() == 0 else ""  # supervisord warns without it
        scratch = self._configuration.with_suffix(".new")
        text = [_BASE.format(socket=path.replace("%", "%%"), user=user), *programs]
        scratch.write_text("".join(text), encoding="utf-8")
        scratch.replace(self._configuration)
        if not self.is_running():
            self._start()
        elif self.ask("reloadConfig") is None:
            raise CommandError(f"supervisord does not take its configuration; {self.log} says why")
        else:
            self.ask("removeProcessGroup", name)
            self.ask("addProcessGroup", name)

    def _start(self) -> None:
        """Start it in the background; of the user's environment it gets only PATH and TZ."""
        path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH") or os.defpath])
        own = {"PATH": path, "PYTHONPATH": str(ROOT)}
        command = [str(PROGRAMS / "python"), "-P", "-m", "supervisor.supervisord"]
        try:
            done = subprocess.run(
                [*command, "--configuration", self._configuration.name, "--umask", f"{_umask():03o}"],
                cwd=self._folder,
                env={**own, **({"TZ": os.environ["TZ"]} if "TZ" in os.environ else {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                start_new_session=True,  # a Ctrl-C is for the command alone
                timeout=_START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CommandError(
                f"supervisord cannot make a socket in {self._folder}; move the checkout to a file system of "
                "this machine that has hard links and sockets"
            ) from None
        except OSError as error:
            raise CommandError(f"supervisord cannot be started: {error}") from None
        if done.returncode or not self.is_running():
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise CommandError(f"supervisord cannot be started: {lines[-1] if lines else f'see {self.log}'}")

    def end(self) -> None:
        """End it, and everything that it still runs."""
        number: int | None = self.ask("getPID")
        process = living_processes().get(number) if number else None
        if process and self.ask("shutdown"):
            await_end([process], _END_SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, host: str, path: str) -> None:
        super().__init__(host, timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_SECONDS)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(str(host), self._path)
        self._connection = host, connection  # what `close` closes
        return connection


def _umask() -> int:
    """Return this process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
