"""Ends a fork of the server as the interpreter ends, but leaves alone what the server had imported.

At its end the interpreter takes all modules apart. A fork that does so writes to nearly every page that it
shares with the server, and so copies it: 40 ms and 26 MB, for modules that are of no use by then.
"""

import atexit
import gc
import io
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

_CANNOT_WRITE = 120  # the interpreter's exit code if standard output cannot be written
_FOREVER_SECONDS = 1e6


def end(code: int, kept: Iterable[ModuleType]) -> NoReturn:
    """Do what the interpreter does at its end, in the same order, and exit.

    Wait for threads, run exit handlers, finalize what the flow's modules hold, and write files. An object
    that only a kept module refers to is not finalized.

    Args:
        code: The exit code.
        kept: Modules that stay as they are.
    """
    for step in (_threads_shut_down, _exit_handlers_run):
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - the interpreter reports it, and goes on
            _tell_unraisable(error, step.__name__.strip("_").replace("_", " "))
    is_written = _write_standard_files()
    # From here on, an interpreter's other threads do not run.
    sys.setswitchinterval(_FOREVER_SECONDS)
    threading.excepthook = lambda _arguments: None
    _clear_modules({id(module) for module in kept})
    gc.collect()
    _write_open_files()
    is_written &= _write_standard_files()
    os._exit(code if is_written else _CANNOT_WRITE)


def _threads_shut_down() -> None:
    module: Any = threading
    module._shutdown()


def _exit_handlers_run() -> None:
    module: Any = atexit
    module._run_exitfuncs()


def _tell_unraisable(error: BaseException, where: str) -> None:
    print(f"Exception ignored while {where}:", file=sys.stderr)
    with suppress(BaseException):
        sys.excepthook(type(error), error, error.__traceback__)


def _clear_modules(kept: set[int]) -> None:
    """Clear modules: the latest first, and in each the private names before the others."""
    modules = [module for module in sys.modules.values() if id(module) not in kept]
    for module in reversed(modules):
        with suppress(Exception):  # anything may be in `sys.modules`
            names = vars(module)
            ordinary = [name for name in names if name != "__builtins__"]
            for is_private in (True, False):
                for name in ordinary:
                    if (name.startswith("_") and not name.startswith("__")) == is_private:
                        names[name] = None


def _write_open_files() -> None:
    """Flush the files that nothing has closed."""
    for found in gc.get_objects():
        if issubclass(type(found), io.IOBase):
            with suppress(Exception):
                found.flush()


def _write_standard_files() -> bool:
    """Flush the standard files; return whether standard output could be written."""
    is_written = True
    for file in (sys.stdout, sys.stderr):
        try:
            if file is not None and not file.closed:
                file.flush()
        except Exception as error:  # noqa: BLE001 - of any kind of file that a flow has put there
            is_written &= file is not sys.stdout
            _tell_unraisable(error, f"writing {file}")
    return is_written
