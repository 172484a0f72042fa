"""The prctl(2) calls of Linux that Python has no functions for."""

import ctypes
import os
import signal

_PDEATHSIG, _DUMPABLE, _CHILD_SUBREAPER = 1, 4, 36


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, in place of the machine's first process.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_CHILD_SUBREAPER, 1)


def close_to_others() -> None:
    """Let no other process of this user read this one's memory, environment or open files, or change them.

    What this process forks begins like this, and what it executes does not.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_DUMPABLE, 0)


def open_to_others() -> None:
    """Take `close_to_others` back; else a process of an ordinary user cannot look at itself in ``/proc``.

    Raises:
        OSError: The kernel refuses.
    """
    _prctl(_DUMPABLE, 1)


def end_with_parent(parent: int) -> None:
    """Be killed when the parent ends; also when it has ended already.

    Args:
        parent: Its process number.

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
