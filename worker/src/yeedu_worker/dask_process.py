"""Runs the Dask scheduler, or one Dask worker: ``python -m yeedu_worker.dask_process scheduler|worker``.

Environment:
    DASK_SCHEDULER_ADDRESS: Where a worker finds the scheduler; default ``tcp://dask-scheduler:8786``.

Both report their health at ``http://127.0.0.1:8787/health``, which no other container can reach; Dask's
dashboard is off. A Dask worker runs one task at a time, so that a cancelled task can be ended with its
process: see `dask_tasks`.
"""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping

PORT = 8786
ROLES = ("scheduler", "worker")
_STATUS = ("--dashboard-address", "127.0.0.1:8787", "--no-dashboard")


def dask_command(role: str, environment: Mapping[str, str]) -> list[str]:
    """Return the command line of the scheduler or of a worker."""
    command = [sys.executable, "-m", "dask", role, *_STATUS]
    if role == "scheduler":
        return [*command, "--port", str(PORT)]
    address = environment.get("DASK_SCHEDULER_ADDRESS") or f"tcp://dask-scheduler:{PORT}"
    return [
        *(*command, address, "--no-nanny", "--nthreads", "1"),
        *("--preload", "yeedu_worker.dask_tasks", "--local-directory", tempfile.gettempdir()),
        *("--death-timeout", "60"),
    ]


def main() -> None:
    """Become the process that the command line names, or exit with one sentence."""
    role = sys.argv[1] if len(sys.argv) == 2 else ""
    if role not in ROLES:
        sys.exit(f"dask: give the role, {' or '.join(ROLES)}")
    if importlib.util.find_spec("distributed") is None:
        sys.exit("dask: Dask is not installed here; set WORKER_EXTRAS=dask in .env, then `make up`")
    command = dask_command(role, os.environ)
    os.execv(command[0], command)  # noqa: S606 - Dask replaces this process


if __name__ == "__main__":
    main()
