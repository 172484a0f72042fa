"""Confines flow code: it has no access to the deployer's files and processes.

Linux's Landlock does it: a process lays it on itself without any privilege, cannot take it off, and hands it
on to what it starts. Such a process opens only what is below the places that it was given. It neither reads
the environment or the memory of a process that is not confined likewise, nor sends it a signal.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Programs, what they read of the system, and devices: what has no part of anybody's own.
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
)  # rights; each of the versions 2 and 3 brought one more
_CAPABILITY_VERSION = 0x20080522
_SCOPED = 0b11  # abstract sockets and signals, since version 6


def hide_own_memory() -> None:
    """Let no other process of the same user read this one's environment and memory, Landlock or not."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def confine(readable: Iterable[str], writable: Iterable[str], hidden: Iterable[str]) -> bool:
    """Leave this process and its children nothing but these places; return whether it took effect.

    Missing ones are passed over; what is `hidden` in them stays out of reach. There is no Landlock on another
    system than Linux, nor in a kernel that was built or started without it.
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
    # Root may look into every process, Landlock or not, unless it gives its capabilities away.
    system.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24))
    return took_effect


def _without(place: Path, hidden: list[Path]) -> Iterator[Path]:
    """Yield a place, or all of its parts but the hidden ones."""
    if place in hidden or not place.exists():
        return
    if any(one.is_relative_to(place) for one in hidden):
        for part in place.iterdir():
            if not part.is_symlink():  # which leads to a place with rights of its own
                yield from _without(part, hidden)
    else:
        yield place
