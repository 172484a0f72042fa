"""Makes a fork of the server look like a fresh ``python -m prefect.engine``, and runs the engine."""

import atexit
import contextlib
import fcntl
import gc
import io
import os
import resource
import runpy
import signal
import socket
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TextIO

from yeedu_worker import prctl
from yeedu_worker.missing_package import advise_in_log
from yeedu_worker.patches.run_settings import Settings
from yeedu_worker.prefork import guard, protocol
from yeedu_worker.prefork.ending import end
from yeedu_worker.prefork.shelf import Shelf

# Above the file numbers that a flow is likely to use, and below the lowest common limit of open files.
_FIRST_OWN_FILE = 200
_F_SETSIG = 10  # Linux; the module `fcntl` has no name for it
# Thousandths of all memory that the kernel adds to a process's own when it is out of memory and looks for one
# to kill: it then picks one flow, whose run says what happened, before the worker, which has all of them.
_OOM_SCORE_ADJ = 500


@dataclass(frozen=True)
class Assignment:
    """What a child has to do.

    Attributes:
        request: What the process must look like.
        files: The request's file, stdin, stdout, stderr and the lifeline.
        connection: To the client, shared with the server.
        shelf: Imported modules to hand out.
        settings: What Prefect derives from the request's environment, if known.
        highest_file: The highest number of the files that the server has open.
    """

    request: protocol.Request
    files: list[int]
    connection: socket.socket
    shelf: Shelf
    settings: Settings | None
    highest_file: int


def run(assignment: Assignment) -> NoReturn:
    """Fork the process that the client asked for, and guard it; it runs the engine when told to."""
    itself = os.getpid()
    try:
        connection, lifeline = _keep_apart(assignment)
    except OSError as error:
        _decline(assignment.connection, error)
    try:
        guard.prepare()
        child = os.fork()
    except OSError as error:
        _decline(connection, error)
    if child:
        os.setsid()  # signals to the server's group, such as an interrupt, are not for this process
        os.close(lifeline)
        status = guard.stand_over(child, guard.most_processes(_texts(assignment.request.environment)))
        with contextlib.suppress(OSError):
            connection.send(protocol.STATUS + str(status).encode(), socket.MSG_NOSIGNAL)
        os._exit(0)
    try:
        prctl.end_with_parent(itself)
        prctl.open_to_others()
        _take_over_process(assignment, lifeline)
        _take_over_interpreter(assignment)
    except BaseException as error:  # noqa: BLE001 - nothing of the flow run has begun: the client can run it
        _decline(connection, error)
    with contextlib.suppress(OSError):
        files = [os.pidfd_open(os.getpid()), os.pidfd_open(itself)]
        protocol.send_with_files(connection, protocol.READY + str(os.getpid()).encode(), files)
        for file in files:
            os.close(file)
    if connection.recv(protocol.MESSAGE_BYTES) != protocol.GO:
        os._exit(0)  # the client gave up, and runs the engine itself
    connection.close()
    imported = (module for name, module in sys.modules.items() if name != "__main__")
    kept = [*imported, *assignment.shelf.modules()]
    end(_run_engine(), kept)


def _decline(connection: socket.socket, error: BaseException) -> NoReturn:
    reason = f"the forked child could not take over: {error!r}"
    with contextlib.suppress(OSError):
        connection.send(protocol.DECLINE + reason.encode()[:2000], socket.MSG_NOSIGNAL)
    os._exit(1)


def _texts(environment: dict[bytes, bytes]) -> dict[str, str]:
    return {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}


def _keep_apart(assignment: Assignment) -> tuple[socket.socket, int]:
    """Close every file of the server, and move this child's to numbers that flows do not use."""
    *_, lifeline = assignment.files
    first = min(_FIRST_OWN_FILE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 8)
    first = max(first, assignment.highest_file + 1)
    standard = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, first) for file in assignment.files[1:4]]
    lifeline = fcntl.fcntl(lifeline, fcntl.F_DUPFD_CLOEXEC, first)
    connection = socket.socket(fileno=fcntl.fcntl(assignment.connection, fcntl.F_DUPFD_CLOEXEC, first))
    assignment.connection.detach()
    for target, file in enumerate(standard):
        os.dup2(file, target)
    os.closerange(3, first)
    for file in standard:
        os.close(file)
    return connection, lifeline


def _take_over_process(assignment: Assignment, lifeline: int) -> None:
    """Take over the client's process attributes: session, limits, priority, folder and environment."""
    request = assignment.request
    os.setsid()
    # The kernel kills this process and its group as soon as the client is gone, whatever else still runs.
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgid(0))
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    with contextlib.suppress(OSError):  # the worker started with a higher value, which only root may lower
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE_ADJ), encoding="ascii")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(request.umask)
    for number, limits in request.limits.items():
        if resource.getrlimit(number) != limits:
            resource.setrlimit(number, limits)
    if os.getpriority(os.PRIO_PROCESS, 0) != request.niceness:
        os.setpriority(os.PRIO_PROCESS, 0, request.niceness)
    os.sched_setaffinity(0, request.processors)
    os.chdir(request.directory)
    os.environb.clear()
    os.environb.update(request.environment)
    time.tzset()


def _take_over_interpreter(assignment: Assignment) -> None:
    """Give the interpreter the standard files, arguments and modules of a fresh one."""
    from yeedu_worker.patches.git_clone import substitute  # only here: it imports Prefect

    request = assignment.request
    sys.stdin, sys.stdout, sys.stderr = _standard_files()
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    sys.argv = ["-m", *request.arguments]
    sys.orig_argv = [request.executable, "-m", "prefect.engine", *request.arguments]
    sys.path[0] = os.getcwd()  # noqa: PTH109 - as `-m` does
    sys.modules["__main__"] = ModuleType("__main__")
    for name in [name for name in sys.modules if name.partition(".")[0] == "yeedu_worker"]:
        del sys.modules[name]
    sys.meta_path.insert(0, assignment.shelf)  # pyright: ignore[reportArgumentType] - a finder by its shape
    _refresh_prefect(assignment.settings)
    substitute(os.environ)
    advise_in_log()
    gc.enable()


def _standard_files() -> tuple[TextIO, TextIO, TextIO]:
    """Open the standard files as the interpreter does when it starts, following the same variables."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))

    def open_text(file: int, name: str, mode: str, like: TextIO | None) -> TextIO:
        raw: Any = io.FileIO(file, mode, closefd=False)
        raw.name = name
        is_raw = unbuffered and mode == "w"
        buffer = raw if is_raw else io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        return io.TextIOWrapper(
            buffer,
            encoding=like.encoding if like else None,
            errors=like.errors if like else None,
            line_buffering=not unbuffered and (name == "<stderr>" or raw.isatty()),
            write_through=is_raw,
        )

    return (
        open_text(0, "<stdin>", "r", sys.stdin),
        open_text(1, "<stdout>", "w", sys.stdout),
        open_text(2, "<stderr>", "w", sys.stderr),
    )


def _refresh_prefect(settings: Settings | None) -> None:
    """Read Prefect's settings and set up its logging, as importing Prefect does.

    Raises:
        RuntimeError: Prefect's plugins are on, which run their own code while Prefect is imported.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging
    from prefect.settings import get_current_settings

    if settings:
        settings.use()
    else:
        refresh_global_settings_context()
        setup_logging()
    if get_current_settings().plugins.enabled:
        raise RuntimeError("PREFECT_PLUGINS_ENABLED is on")


def _run_engine() -> int:
    """Run the engine as ``python -m`` does; return the exit code."""
    try:
        _run_as_main("prefect.engine")
    except SystemExit as error:
        return _exit_code(error.code)
    except BaseException as error:  # noqa: BLE001 - reported as the interpreter does
        traceback = error.__traceback__
        while traceback and traceback.tb_frame.f_globals.get("__name__") != "__main__":
            traceback = traceback.tb_next
        sys.excepthook(type(error), error, traceback)
        if isinstance(error, KeyboardInterrupt):
            atexit.register(_end_by_interrupt)
        return 1
    return 0


def _run_as_main(name: str) -> None:
    """Run a module with the functions of ``python -m``, without the warning that it is imported already."""
    runner: Any = runpy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        _, spec, code = runner._get_module_details(name)
    sys.argv[0] = spec.origin
    runner._run_code(code, sys.modules["__main__"].__dict__, None, "__main__", spec)


def _exit_code(code: object) -> int:
    """Return the exit code that the interpreter makes of the argument of ``sys.exit``."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _end_by_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
