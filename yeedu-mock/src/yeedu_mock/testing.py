"""Runs a mock inside a test process, on its own port."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import tempfile
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yeedu_mock.mock import Mock, open_mock
from yeedu_mock.server import bind, new_server, url_of
from yeedu_mock.settings import Settings
from yeedu_mock.state.seeds import DEMO_TENANT, DEMO_WORKSPACE_ID

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class RunningMock:
    """A mock that serves, and what a client needs to use it.

    Attributes:
        url: Base URL, without a slash at the end.
        settings: How it runs; holds the user name and the password.
        mock: Its internals, for assertions; change nothing there while requests are being served.
    """

    url: str
    settings: Settings
    mock: Mock

    tenant: str = DEMO_TENANT
    workspace_id: int = DEMO_WORKSPACE_ID

    @property
    def health_url(self) -> str:
        """The URL of the health check."""
        return f"{self.url}/healthCheck"

    def switch(self, **switches: object) -> None:
        """Set switches of the mock, by name.

        Raises:
            SwitchError: There is no such switch, or it cannot have that value.
        """
        current = self.mock.control.switches
        current.take_over(current.changed(switches))

    def job_url(self, job_id: int) -> str:
        """Return the URL a user would paste for a job."""
        return f"{self.url}/tenant/{self.tenant}/workspace/{self.workspace_id}/spark/job/{job_id}"

    def notebook_url(self, notebook_id: int) -> str:
        """Return the URL a user would paste for a notebook."""
        return f"{self.url}/tenant/{self.tenant}/workspace/{self.workspace_id}/spark/notebook/{notebook_id}"


@contextlib.contextmanager
def running_mock(settings: Settings) -> Generator[RunningMock, None, None]:
    """Serve a mock in a thread until the block ends.

    Args:
        settings: How it runs; use port 0. The default password is `demo-password`.

    Raises:
        SettingsError: It cannot be started with these settings.
        RuntimeError: It did not start, or did not end, within 30 seconds; says what was still under way.
    """
    settings = replace(settings, password=settings.password or "demo-password")
    listener = bind(settings)
    mock = open_mock(settings)
    server = new_server(mock, listener)
    started = threading.Event()

    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        started.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="yeedu-mock", daemon=True)
    thread.start()
    try:
        if not started.wait(START_TIMEOUT_SECONDS) or not server.started:
            raise RuntimeError("The mock did not start; its log says why.")
        yield RunningMock(url_of(listener, settings), settings, mock)
    finally:
        server.should_exit = True
        thread.join(STOP_TIMEOUT_SECONDS)
        listener.close()
    if thread.is_alive():
        raise RuntimeError(f"The mock did not end.\n{_under_way(loops[0])}")


def _under_way(loop: asyncio.AbstractEventLoop) -> str:
    """Return the stacks of all threads, and of all tasks of a loop."""
    said = io.StringIO()
    for task in asyncio.all_tasks(loop):
        task.print_stack(file=said)
    with tempfile.TemporaryFile("w+") as threads:
        faulthandler.dump_traceback(threads)
        threads.seek(0)
        said.write(threads.read())
    return said.getvalue()


def default_settings(state_directory: Path) -> Settings:
    """Return settings for tests: a free port, no spare kernel, `/_control/*`, the given directory."""
    return Settings(port=0, state_directory=state_directory, spare_kernels=0, control=True)
