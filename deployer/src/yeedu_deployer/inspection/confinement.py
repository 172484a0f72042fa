"""Confines flow code, which then has no access to the deployer's files and processes.

Uses Linux's Landlock: a process confines itself without any privilege, cannot undo it, and passes it on to
its children. It can then open only what is below the places that it was given, and can neither read the
environment or memory of a process that is not confined likewise nor send it a signal.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Programs, the system files that they read, and devices: nothing that holds anybody's data.
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/etc",
    "/nix/store",
    "/proc",
    "/sys",
    "/dev",
)
_SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 4, 38  # of prctl(2)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, of the same number everywhere
_READ, _OF_FILES, _OF_ALL = (
    0b1101,
    1 << 14 | 0b111,
    13,
)  # rights; versions 2 and 3 each added one
_CAPABILITY_VERSION = 0x20080522
_SCOPED = 0b11  # abstract sockets and signals, since version 6


def hide_own_memory() -> None:
    """Stop other processes of the same user from reading this one's memory, with or without Landlock."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def confine(readable: Iterable[str], writable: Iterable[str], hidden: Iterable[str]) -> bool:
    """Confine this process and its children to these places; return whether it took effect.

    Missing places are skipped; what is `hidden` in them stays out of reach. Has no effect on systems other
    than Linux, or with a kernel that was built or started without Landlock.
    """
    if sys.platform != "linux":
        return False
    system = ctypes.CDLL(None)
    version = system.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    every_right = (1 << _OF_ALL + min(version, 3) - 1) - 1
    rules = struct.pack("=QQQ", every_right, 0, _SCOPED if version >= 6 else 0)
    ruleset = system.syscall(_CREATE_RULESET, rules, len(rules), 0)
    kept = [Path(one).resolve() for one in hidden]
    for places, rights in ((readable, _READ), (writable, every_right)):
        for place in (found for one in places for found in _without(Path(one).resolve(), kept)):
            opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if place.is_dir() else rights & every_right & _OF_FILES
            system.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, opened), 0)
            os.close(opened)
    system.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    took_effect = system.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    # Root may inspect every process, with or without Landlock, unless it drops its capabilities.
    system.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24))
    return took_effect


def _without(place: Path, hidden: list[Path]) -> Iterator[Path]:
    """Yield a place, or if parts of it are hidden, all the others."""
    if place in hidden or not place.exists():
        return
    if any(one.is_relative_to(place) for one in hidden):
        for part in place.iterdir():
            if not part.is_symlink():  # its target has rights of its own
                yield from _without(part, hidden)
    else:
        yield place
