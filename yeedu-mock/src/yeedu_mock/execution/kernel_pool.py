"""Starts kernels ahead, so that a notebook run need not wait for one."""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING

import zmq.asyncio

from yeedu_mock.execution.kernel import Kernel, new_kernel_folder

if TYPE_CHECKING:
    from pathlib import Path

    from yeedu_mock.control.switches import Switches
    from yeedu_mock.execution.limits import Limits

logger = logging.getLogger(__name__)


class KernelPool:
    """Hands out started kernels.

    Args:
        root: Where kernels without a run have their folders.
        home: What kernels see as `HOME`.
        limits: What each kernel may use.
        spares: How many to start ahead.
        switches: How to disturb their connections.
    """

    def __init__(self, root: Path, home: Path, limits: Limits, spares: int, switches: Switches) -> None:
        self._root = root
        self._home = home
        self._limits = limits
        self._spares = spares
        self._switches = switches
        self._context = zmq.asyncio.Context()
        self._starting: list[asyncio.Task[Kernel]] = []

    def fill(self) -> None:
        """Start the missing spares, without waiting for them."""
        while len(self._starting) < self._spares:
            self._starting.append(asyncio.create_task(self._start(), name="spare-kernel"))

    async def take(self, folder: Path) -> Kernel:
        """Return a started kernel whose working folder is `folder`, which must not exist yet.

        Raises:
            RuntimeError, TimeoutError: No kernel could be started.
        """
        kernel = await self._next()
        while kernel.execution_state == "dead":  # a spare may have died unnoticed
            await kernel.shutdown()
            kernel = await self._next()
        kernel.folder.rename(folder)  # the process's working directory moves along
        kernel.folder = folder
        return kernel

    async def close(self) -> None:
        """End every spare; kernels that were handed out must have ended already."""
        tasks, self._starting, self._spares = self._starting, [], 0
        await asyncio.gather(*(_discard(task) for task in tasks))
        self._context.destroy(linger=0)
        shutil.rmtree(self._root, ignore_errors=True)

    async def _next(self) -> Kernel:
        task = self._starting.pop(0) if self._starting else asyncio.create_task(self._start())
        try:
            return await task
        except asyncio.CancelledError:
            await _discard(task)
            raise
        finally:
            self.fill()

    async def _start(self) -> Kernel:
        folder = new_kernel_folder(self._root)
        kernel = Kernel(folder, self._home, self._limits, self._context, self._switches)
        try:
            await kernel.start()
        except BaseException:
            await kernel.shutdown()
            raise
        return kernel


async def _discard(task: asyncio.Task[Kernel]) -> None:
    """End the kernel that a task is starting or has started."""
    if not task.done():
        task.cancel()
    try:
        kernel = await task
    except (asyncio.CancelledError, RuntimeError, TimeoutError):
        return
    await kernel.shutdown()
