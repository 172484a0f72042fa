"""A prefork server without a worker, and its client."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from prefect_processes import PROGRAMS, START_SECONDS

from tests.platforms import wait_for
from yeedu_worker.prefork import protocol
from yeedu_worker.process_tree import children_by_parent

# Stands in for the worker's watchdog: keeps a server, tells its address, and waits for its own end.
HOLDER = """
import sys
from pathlib import Path
from yeedu_worker.prctl import adopt_orphans
from yeedu_worker.prefork.keeper import Keeper
adopt_orphans()
keeper = Keeper(Path(sys.argv[1]))
keeper.start()
print(keeper.address, flush=True)
sys.stdin.read()
keeper.stop()
"""


@dataclass
class Prefork:
    """A running prefork server.

    Attributes:
        address: Its socket.
        environment: Which it was started in.
        holder: The process that stands in for the worker.
    """

    address: str
    environment: Mapping[str, str]
    holder: "subprocess.Popen[str]"
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def server(self) -> int:
        """Return the process number of the server."""
        return wait_for("server", lambda: children(self.holder.pid), 60, 0.05)[0]

    def client(
        self, folder: Path, environment: Mapping[str, str] | None = None, **options: object
    ) -> "subprocess.Popen[str]":
        """Start a client in a folder, with its output in pipes."""
        return subprocess.Popen(
            [PROGRAMS / "yeedu-flow-run"],
            cwd=folder,
            env={**(environment or self.environment), protocol.ADDRESS_VARIABLE: self.address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[arg-type]
        )


def children(process: int) -> list[int]:
    """Return the process numbers of the children of a process."""
    return sorted(child.number for child in children_by_parent().get(process, []))


@contextmanager
def prefork(environment: Mapping[str, str], folder: Path) -> Iterator[Prefork]:
    """Run a prefork server until the end of the block."""
    private = folder / "socket"
    private.mkdir(parents=True, mode=0o700)
    log_file = folder / "prefork.log"
    with log_file.open("wb") as log:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(private)],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert holder.stdout
    running = Prefork(holder.stdout.readline().strip(), environment, holder, log_file)
    try:
        wait_for("prefork server", lambda: "ready" in running.log, START_SECONDS, 0.05)
        yield running
    finally:
        holder.communicate()
        try:
            wait_for("end of the keeper", lambda: not private.exists(), 60, 0.05)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(holder.pid, signal.SIGKILL)
