"""Owns one Jupyter kernel: its process, its state, and what it publishes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from yeedu_mock.control.switches import Switches
from yeedu_mock.execution.kernel_connection import KernelConnection, open_socket, read_message
from yeedu_mock.execution.limits import minimal_environment
from yeedu_mock.execution.message_faults import Disturbance

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import zmq.asyncio

    from yeedu_mock.execution.limits import Limits

logger = logging.getLogger(__name__)

START_TIMEOUT_SECONDS = 60.0
LIVENESS_INTERVAL_SECONDS = 0.5
KERNEL_MODULE = ("-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.hist_file=:memory:")


class _LimitedKernelSpecs(KernelSpecManager):
    """Knows one kernel: this interpreter's ipykernel, under limits; no kernels that users have installed."""

    command: list[str]

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(argv=self.command, display_name="Python 3", language="python", name=kernel_name)


class Kernel:
    """A running kernel.

    Args:
        folder: The kernel's working folder; `stdout.log` and `stderr.log` appear in it.
        home: What the kernel sees as `HOME`.
        limits: What it may use; its time is not limited.
        context: The ZeroMQ context of its sockets; several kernels share one.
        switches: How to disturb connections.
    """

    def __init__(
        self, folder: Path, home: Path, limits: Limits, context: zmq.asyncio.Context, switches: Switches
    ) -> None:
        self.folder = folder
        self.execution_state = "starting"
        self.connections: set[KernelConnection] = set()
        self.on_death: Callable[[], None] | None = None
        self._home = home
        self._switches = switches
        self._parked: KernelConnection | None = None
        # Unix socket paths must be short, and a state directory's may be long.
        self._sockets = Path(tempfile.mkdtemp(prefix="yeedu-kernel-"))
        specs = _LimitedKernelSpecs()
        specs.command = limits.command(sys.executable, *KERNEL_MODULE)
        # The library leaves most of its methods' results untyped.
        self._manager: Any = AsyncKernelManager(
            context=context,
            kernel_spec_manager=specs,
            connection_file=str(self._sockets / "k.json"),
            transport="tcp" if sys.platform == "win32" else "ipc",
        )
        self._iopub: zmq.asyncio.Socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_restarting = False

    async def start(self) -> None:
        """Start the process, and wait until it answers.

        Raises:
            TimeoutError: It did not answer within a minute.
            RuntimeError: It died while starting.
        """
        with self._launch_options() as options:
            await self._manager.start_kernel(**options)
        self._iopub = open_socket(self._manager, "iopub")
        self._tasks.append(asyncio.create_task(self._publish(), name="kernel-iopub"))
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            await self._until_ready()
        self._tasks.append(asyncio.create_task(self._watch(), name="kernel-liveness"))

    async def connect(self) -> KernelConnection:
        """Open a connection as a websocket does; the caller closes it with `disconnect`."""
        connection, self._parked = self._parked, None
        if connection is not None:  # with what has been published since it was parked
            connection.resume()
            return connection
        connection = KernelConnection(self._manager, Disturbance(self._switches))
        self.connections.add(connection)
        await connection.greet(self.execution_state)
        return connection

    def disconnect(self, connection: KernelConnection) -> None:
        """Close one connection; the kernel goes on."""
        if self._switches.websocket_buffers and self.connections == {connection}:
            self._parked = connection
            return
        self.connections.discard(connection)
        connection.close()

    def drop_connections(self) -> int:
        """Drop every open connection without a close frame; return how many there were."""
        dropped = self.connections - {self._parked}
        for connection in dropped:
            connection.drop()
        return len(dropped)

    async def interrupt(self) -> None:
        """Interrupt the running cell."""
        await self._manager.interrupt_kernel()

    async def restart(self) -> None:
        """Replace the process; connections stay open and are told."""
        self._is_restarting = True
        try:
            self._broadcast_state("restarting")
            with self._launch_options() as options:
                await self._manager.restart_kernel(now=True, **options)
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await self._until_ready()
        finally:
            self._is_restarting = False

    async def kill_process(self) -> None:
        """Kill the process as an out-of-memory killer would; `_watch` then notices."""
        if self._manager.provisioner is not None:
            await self._manager.provisioner.kill()

    async def shutdown(self) -> None:
        """End the process and every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            connection.finish()
        if self._parked is not None:
            self._parked.close()
        if self._manager.has_kernel:
            await self._manager.shutdown_kernel(now=True)
        else:
            await self._manager.cleanup_resources()
        if self._iopub is not None:
            self._iopub.close(linger=0)
        with contextlib.suppress(OSError):
            shutil.rmtree(self._sockets)

    @contextlib.contextmanager
    def _launch_options(self) -> Generator[dict[str, Any], None, None]:
        """Open the logs for the process that the block starts; it then keeps them open itself."""
        stdout, stderr = (self.folder / name for name in ("stdout.log", "stderr.log"))
        with stdout.open("ab") as out, stderr.open("ab") as err:
            environment = minimal_environment(self._home) | {
                "IPYTHONDIR": str(self._home / ".ipython"),
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else four lines about debugging begin every stderr
            }
            yield {"env": environment, "cwd": str(self.folder), "stdout": out, "stderr": err}

    async def _until_ready(self) -> None:
        """Ask for the kernel's info until a reply and a published state have both arrived."""
        connection = KernelConnection(self._manager, Disturbance(Switches()))
        self.execution_state = "starting"
        try:
            while self.execution_state == "starting" or not connection.has_replied:
                if not await self._manager.is_alive():
                    raise RuntimeError("The kernel died while starting; see its stderr.log.")
                await connection.ask_kernel_info()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.25):
                        await connection.next_message()
        finally:
            connection.close()

    async def _publish(self) -> None:
        """Pass everything that the kernel publishes on to every connection, in order."""
        assert self._iopub is not None  # noqa: S101 - start() made it
        while True:
            message = read_message(self._manager.session, await self._iopub.recv_multipart(), "iopub")
            if message is None:
                continue
            if message["msg_type"] == "status":
                self.execution_state = message["content"]["execution_state"]
            elif message["msg_type"] == "stream":
                self._log(message["content"])
            for connection in self.connections:
                connection.put(message)

    async def _watch(self) -> None:
        while self._is_restarting or await self._manager.is_alive():
            await asyncio.sleep(LIVENESS_INTERVAL_SECONDS)
        self._broadcast_state("restarting")
        self.execution_state = "dead"
        if self.on_death is not None:
            self.on_death()

    def _broadcast_state(self, state: str) -> None:
        """Tell every connection a state that only the owner of the process knows."""
        self.execution_state = state
        for connection in self.connections:
            connection.put_status(state)

    def _log(self, content: dict[str, Any]) -> None:
        """Write what cells print to the run's log as well."""
        name = "stderr.log" if content.get("name") == "stderr" else "stdout.log"
        with (self.folder / name).open("a", encoding="utf-8") as log:
            log.write(str(content.get("text", "")))


def new_kernel_folder(root: Path) -> Path:
    """Create and return an empty working folder for a kernel that belongs to no run yet."""
    folder = root / uuid.uuid4().hex
    folder.mkdir(parents=True)
    return folder
