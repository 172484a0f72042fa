"""The environment of a flow run's process: client retries, a guard process, a folder for temporary files."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from yeedu_worker.patches.patience import RETRIES

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from prefect.workers.process import ProcessJobConfiguration

FOLDER_PREFIX = "yeedu-run-"
_OF_FLOWS = {
    # How often a flow retries a server that is unreachable before its final state is lost. Prefect's five
    # retries end after a minute. The worker itself goes on for ever, so it keeps those five.
    "PREFECT_CLIENT_MAX_RETRIES": str(RETRIES),
    # The worker, of the same installation, has already compared the server's version with its own.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
}
# If the server has told the worker that it wants no CSRF tokens, its flows need not ask for them.
_WITHOUT_TOKENS = {"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
_TEMPORARY = ("TMPDIR", "TMP", "TEMP")


@asynccontextmanager
async def run_environment(
    configuration: ProcessJobConfiguration, *, has_tokens: bool = True
) -> AsyncGenerator[None]:
    """Complete the configuration of a flow run's process; afterwards, delete its temporary files.

    These have a folder of their own, unless the work pool or the deployment names one.

    Args:
        configuration: The process's; changed in place.
        has_tokens: Whether the server may want a CSRF token with each change.
    """
    configuration.env = {**_OF_FLOWS, **({} if has_tokens else _WITHOUT_TOKENS), **configuration.env}
    if sys.platform == "win32":  # where an open file cannot be deleted
        yield
        return
    configuration.command = guarded(configuration.command)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    # Another process that can lock the folder knows that this worker is gone.
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in _TEMPORARY:
            if configuration.env.get(name) == os.environ.get(name):
                configuration.env[name] = str(folder)
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(remove, folder)
        os.close(lock)


def guarded(command: str | None) -> str | None:
    """Return a flow run's command wrapped in a guard; `yeedu-flow-run` has its own."""
    if sys.platform != "linux" or not command or Path(shlex.split(command)[0]).name == "yeedu-flow-run":
        return command
    # `-P`: the guard must not import modules from the run's folder.
    return shlex.join([sys.executable, "-P", "-m", "yeedu_worker.prefork.guard"]) + f" {command}"


def remove(path: Path) -> bool:
    """Delete a file or folder, whatever its permissions; return whether it is gone."""

    def permit(_function: object, name: str, _error: Any) -> None:
        parent = Path(name).parent
        with suppress(OSError):
            for folder in (parent, Path(name)):
                if not folder.is_symlink() and folder.is_dir():
                    folder.chmod(stat.S_IRWXU)
            if Path(name).is_dir() and not Path(name).is_symlink():
                shutil.rmtree(name, ignore_errors=True)
            else:
                Path(name).unlink(missing_ok=True)

    if path.is_dir() and not path.is_symlink():
        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=permit)
        else:
            shutil.rmtree(path, onerror=permit)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return not os.path.lexists(path)
