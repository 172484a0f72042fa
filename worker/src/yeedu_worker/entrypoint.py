"""The container's entrypoint: starts the worker and its prefork server, and supervises both."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from yeedu_worker.prefork import protocol

if TYPE_CHECKING:
    from yeedu_worker.prefork.keeper import Keeper

_CLOSED = ["yeedu_worker.run_protected"] if sys.platform == "linux" else []
_HAND_OVER_SECONDS = 10
_MIN_GRACE_SECONDS = 15
_LONGEST_FOLDER = 95  # the address of a Unix socket has at most 107 bytes
_HUNG_SECONDS = "120"
_MIN_HUNG_SECONDS = 10  # five liveness signals
_SWITCH = {"true": True, "false": False}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_NOT_IN_A_QUEUES_NAME = re.compile(r"[/%&<>]")


class WorkerConfigurationError(Exception):
    """A setting of the worker cannot be used; the message says which and what to do."""


def worker_command(environment: Mapping[str, str]) -> list[str]:
    """Return the command line of the worker that the environment describes.

    Environment:
        WORKER_POOL: The work pool to poll; default ``yeedu-pool``. The deployer creates it.
        WORKER_NAME: The worker's name in the UI; default ``linux-worker``. Stable, because every new name
            leaves one more offline worker record behind.
        WORKER_QUEUES: The queues of the pool to poll, separated by commas; empty for all.
        WORKER_LIMIT: The maximum number of concurrent flow runs; default 10.
        WORKER_GRACE_SECONDS: Seconds from SIGTERM until this process is killed; default 30, at least 15.
            Flow runs may go on for all but the last ten, which are for handing over.
        RESULT_RETENTION_SECONDS: How long persisted results are kept; 0 or unset for ever.

    Raises:
        WorkerConfigurationError: A value is malformed, or the API's address is missing.
    """
    if not environment.get("PREFECT_API_URL"):
        raise WorkerConfigurationError(
            "PREFECT_API_URL is not set; set it to the server's API, for example http://server:4200/api"
        )
    pool = environment.get("WORKER_POOL") or "yeedu-pool"
    name = environment.get("WORKER_NAME") or "linux-worker"
    limit = environment.get("WORKER_LIMIT") or "10"
    if not _NAME.fullmatch(name):
        raise WorkerConfigurationError(
            f"WORKER_NAME={name!r}: use letters, digits, spaces, dots, dashes and underscores"
        )
    if not limit.isdecimal() or int(limit) < 1:
        raise WorkerConfigurationError(f"WORKER_LIMIT={limit!r} is not a whole number of at least 1")
    queues = [option for queue in work_queues(environment) for option in ("--work-queue", queue)]
    grace = environment.get("WORKER_GRACE_SECONDS") or "30"
    if not grace.isdecimal() or int(grace) < _MIN_GRACE_SECONDS:
        raise WorkerConfigurationError(
            f"WORKER_GRACE_SECONDS={grace!r} is not a whole number of at least {_MIN_GRACE_SECONDS}"
        )
    keep = environment.get("RESULT_RETENTION_SECONDS") or "0"
    if not keep.isdecimal():
        raise WorkerConfigurationError(
            f"RESULT_RETENTION_SECONDS={keep!r} is not a whole number of seconds; 0 keeps all"
        )
    return [
        *(
            sys.executable,
            "-m",
            *_CLOSED,
            "yeedu_worker.serve",
            "--pool",
            pool,
            "--name",
            name,
            "--limit",
            limit,
        ),
        *("--grace-seconds", str(int(grace) - _HAND_OVER_SECONDS)),
        *(("--keep-results-seconds", keep) if int(keep) else ()),
        *queues,
    ]


def work_queues(environment: Mapping[str, str]) -> list[str]:
    """Return the queues that the environment names (``WORKER_QUEUES``); none means every queue of the pool.

    Raises:
        WorkerConfigurationError: A name has a character that Prefect does not allow.
    """
    value = environment.get("WORKER_QUEUES") or ""
    names = list(dict.fromkeys(name for part in value.split(",") if (name := part.strip())))
    for name in names:
        if _NOT_IN_A_QUEUES_NAME.search(name):
            raise WorkerConfigurationError(
                f"WORKER_QUEUES={value!r}: a queue's name has none of / % & < >; separate names by commas"
            )
    return names


def has_prefork(environment: Mapping[str, str]) -> bool:
    """Tell whether to fork flow runs from a warm parent (``WORKER_PREFORK``, on by default).

    Raises:
        WorkerConfigurationError: The value is neither true nor false.
    """
    value = environment.get("WORKER_PREFORK") or "true"
    if value.lower() not in _SWITCH:
        raise WorkerConfigurationError(f"WORKER_PREFORK={value!r} is neither true nor false")
    return _SWITCH[value.lower()] and sys.platform == "linux"


def hung_seconds(environment: Mapping[str, str]) -> int:
    """Return after how many seconds without a liveness signal the worker is restarted.

    Environment:
        WORKER_HUNG_SECONDS: Whole seconds, at least 10; default 120, 0 for never.

    Raises:
        WorkerConfigurationError: The value is no such number.
    """
    value = environment.get("WORKER_HUNG_SECONDS") or _HUNG_SECONDS
    if not value.isdecimal() or 0 < int(value) < _MIN_HUNG_SECONDS:
        raise WorkerConfigurationError(
            f"WORKER_HUNG_SECONDS={value!r} is neither a whole number of at least {_MIN_HUNG_SECONDS}, "
            "nor 0 for never"
        )
    return int(value)


def open_prefork() -> "Keeper | None":
    """Open the prefork server's socket, and put its address into the environment for flow runs' commands."""
    from yeedu_worker.prefork.keeper import Keeper

    try:
        folder = Path(tempfile.mkdtemp(prefix="yeedu-prefork-"))
        if len(os.fsencode(folder)) > _LONGEST_FOLDER:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="yeedu-prefork-", dir="/tmp"))
        keeper = Keeper(folder)
    except OSError as error:
        print(f"worker: no prefork server, flow runs start without it: {error}", file=sys.stderr)
        return None
    os.environ[protocol.ADDRESS_VARIABLE] = keeper.address
    return keeper


def main() -> None:
    """Run the worker under its watchdog, or exit with one sentence."""
    try:
        command = worker_command(os.environ)
        is_wanted = has_prefork(os.environ)
        hung = hung_seconds(os.environ)
    except WorkerConfigurationError as error:
        sys.exit(f"worker: {error}")
    if not shutil.which("yeedu-flow-run"):  # the work pool's command; PATH may lack its folder
        programs = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH") or os.defpath])
    if sys.platform != "linux":
        os.execvp(command[0], command)  # noqa: S606 - the worker replaces this process
    from yeedu_worker.prefork.guard import leave_like
    from yeedu_worker.watchdog import Watchdog

    code = Watchdog(command, hung, open_prefork() if is_wanted else None).run()
    leave_like(code << 8 if code >= 0 else -code)  # as a status of `waitpid`
