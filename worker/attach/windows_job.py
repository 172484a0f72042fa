"""Kills a process tree on Windows when its root, or this process, ends, even if it is killed.

Windows does not end a process because another one ends. It does end the processes of a job object when the
job's last handle is closed, and a process that ends closes its handles.
"""

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

if sys.platform == "win32":
    from ctypes import wintypes

    _KERNEL = ctypes.WinDLL("kernel32", use_last_error=True)
    _KERNEL.CreateJobObjectW.restype = wintypes.HANDLE
    _KERNEL.CreateJobObjectW.argtypes = [wintypes.LPVOID, wintypes.LPCWSTR]
    _KERNEL.SetInformationJobObject.argtypes = [
        wintypes.HANDLE,
        ctypes.c_int,
        wintypes.LPVOID,
        wintypes.DWORD,
    ]
    _KERNEL.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
    _KERNEL.CloseHandle.argtypes = [wintypes.HANDLE]
    _EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
    _KILL_ON_CLOSE = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE

    class _ExtendedLimits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION, with its nested structures flattened."""

        _fields_ = (
            ("times", ctypes.c_int64 * 2),
            ("flags", ctypes.c_uint32),
            ("working_set", ctypes.c_size_t * 2),
            ("processes", ctypes.c_uint32),
            ("affinity", ctypes.c_size_t),
            ("classes", ctypes.c_uint32 * 2),
            ("counters", ctypes.c_uint64 * 6),
            ("memory", ctypes.c_size_t * 4),
        )

    @contextmanager
    def tied(process: "subprocess.Popen[str]") -> Generator[None]:
        """Tie a process, and all that it starts from here on, to this block, whose end kills what is left.

        Raises:
            OSError: Windows refuses, as it does when the process has ended already.
        """
        job = _KERNEL.CreateJobObjectW(None, None)
        _check(job)
        try:
            limits = _ExtendedLimits(flags=_KILL_ON_CLOSE)
            size = ctypes.sizeof(limits)
            _check(_KERNEL.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), size))
            _check(_KERNEL.AssignProcessToJobObject(job, int(vars(process)["_handle"])))
            yield
        finally:
            _KERNEL.CloseHandle(job)

    def _check(result: int | None) -> None:
        if not result:
            raise ctypes.WinError(ctypes.get_last_error())
