"""Guards one flow run, so that none of its processes outlives it, however they hide.

The guard is the parent of the run's own process, and, since it adopts orphans, of every process that the run
leaves without a parent: one that leaves its session or ignores signals still stays below it. When the run's
process has ended, in whatever way, the guard kills the rest. The run cannot read or change the guard. If the
guard is killed, the kernel kills the run's process, and the guard's own parent adopts the rest.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from yeedu_worker.prctl import adopt_orphans, close_to_others, end_with_parent
from yeedu_worker.prefork.limits import limit_files
from yeedu_worker.process_tree import descendants, end_children, kill

PROCESSES_VARIABLE = "WORKER_RUN_PROCESSES"
DEFAULT_PROCESSES = 1000
_POLL_SECONDS = 0.25
_COUNTED = Path("/sys/fs/cgroup/pids.current")
# The share of one processor that counting a run's processes may take, on a machine with very many.
_SHARE_OF_TIME = 0.005
_RELAYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def most_processes(environment: Mapping[str, str]) -> int:
    """Return how many processes and threads a flow run may have; 0 for any number.

    Environment:
        WORKER_RUN_PROCESSES: The number; default 1000.
    """
    value = environment.get(PROCESSES_VARIABLE) or ""
    return int(value) if value.isdecimal() else DEFAULT_PROCESSES


def prepare() -> None:
    """Make this process a guard; it must have no children and no other threads.

    Raises:
        OSError: The kernel refuses.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    adopt_orphans()
    close_to_others()


def stand_over(run: int, most: int) -> int:
    """Wait until a flow run's process ends, and kill all that it has left behind.

    Args:
        run: The process, a child of this one.
        most: How many processes and threads the run may have; one that has more is killed. 0: any number.

    Returns:
        The process's status from ``waitpid``.
    """
    look_at = 0.0
    while True:
        signal.sigtimedwait([signal.SIGCHLD], _POLL_SECONDS)
        status = _reap(run)
        if status is not None:
            break
        began = time.monotonic()
        if most and began > look_at and _everything() > most:
            members = descendants(os.getpid())
            if (count := sum(member.threads for member in members)) > most:
                _say(f"the flow run is ended: it had {count} processes, and {PROCESSES_VARIABLE} is {most}")
                kill(member.number for member in members)
            look_at = time.monotonic() + (time.monotonic() - began) / _SHARE_OF_TIME
    if not _is_alone() and not end_children():
        _say("some of the flow run's processes could not be ended")
    return status


def run_guarded(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Run a command with this process as its guard, and exit as it did.

    Signals are passed on to it; SIGTERM to all that it has started as well.
    """
    prepare()
    itself = os.getpid()

    def begin() -> None:
        limit_files(environment)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        end_with_parent(itself)

    with subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=begin) as process:
        for number in _RELAYED:
            signal.signal(number, lambda relayed, _frame: _pass_on(process.pid, relayed))
        status = stand_over(process.pid, most_processes(environment))
        leave_like(status)


def leave_like(status: int) -> NoReturn:
    """End as a process with that wait status ended."""
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    import resource

    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _pass_on(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        if number == signal.SIGTERM:
            os.killpg(process, number)
        else:
            os.kill(process, number)


def _reap(run: int) -> int | None:
    """Reap children that have ended; return the wait status of the run's process if it is one of them."""
    found: int | None = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == run:
                found = ended[1]
    return found


def _is_alone() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] < 0
    except ChildProcessError:
        return True


def _everything() -> int:
    """Return how many processes and threads this container has, which the run cannot exceed."""
    try:
        return int(_COUNTED.read_bytes())
    except (OSError, ValueError):
        return sys.maxsize  # no container, or an old kernel: they have to be counted


def _say(text: str) -> None:
    print(f"yeedu-flow-run: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_guarded(sys.argv[1:], os.environ)
