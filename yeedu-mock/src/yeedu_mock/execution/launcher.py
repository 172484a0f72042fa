"""Sets limits on this process and becomes the program given on the command line.

Run as a file (`python -I -S launcher.py PARENT MEMORY_BYTES FILE_BYTES PROGRAM ...`), it imports nothing from
this package and so starts quickly. On Linux the program also dies with the mock, even if that is killed.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def limit(name: str, value: int) -> None:
    """Lower a resource limit, if the platform has it; never raise one that is lower already."""
    try:
        import resource
    except ImportError:
        return
    kind: int = getattr(resource, name)
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def main() -> None:
    """Apply the limits and replace this process."""
    parent, memory_bytes, file_bytes, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            sys.exit("The mock ended before the program started.")
        limit("RLIMIT_AS", int(memory_bytes))
    limit("RLIMIT_FSIZE", int(file_bytes))
    limit("RLIMIT_CORE", 0)
    os.execv(command[0], command)  # noqa: S606 - replacing the process is the point


if __name__ == "__main__":
    main()
