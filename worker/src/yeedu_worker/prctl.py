"""The Linux prctl(2) calls that Python has no functions for."""

import ctypes
import os
import signal

_PDEATHSIG, _DUMPABLE, _CHILD_SUBREAPER = 1, 4, 36


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, instead of the machine's first process.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_CHILD_SUBREAPER, 1)


def close_to_others() -> None:
    """Keep other processes of this user from reading or changing this one's memory, environment and files.

    A fork of this process starts out closed too; a program that it executes does not.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_DUMPABLE, 0)


def open_to_others() -> None:
    """Undo `close_to_others`; else a process of an ordinary user cannot read its own ``/proc`` files.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_DUMPABLE, 1)


def end_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends, or at once if it already has.

    Args:
        parent: The parent's process number.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if library.prctl(option, ctypes.c_ulong(value), zero, zero, zero):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
