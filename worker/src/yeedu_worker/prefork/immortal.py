"""Makes all objects immortal, so that a fork can use them without writing to them.

CPython counts references in an object's header, and in a fork the first write to a page copies it: half of a
flow run's memory would be such copies. References to an immortal object are not counted (PEP 683). Only
CPython's own code can make one, so this writes the mark itself, after checking what the mark is.
"""

import ctypes
import gc
import sys
import sysconfig
from collections.abc import Iterable
from typing import Any

_MARK = 0xFFFF_FFFF
_VERSIONS = ((3, 12), (3, 13))  # later versions have another mark


def make_immortal() -> int:
    """Make every object immortal that this process has right now.

    Returns:
        How many there are; 0 if this interpreter is not known to mark them in this way.
    """
    if not _is_known():
        return 0
    objects = _reachable(gc.get_objects())
    header = ctypes.c_uint32.from_address
    for address in objects:
        header(address).value = _MARK
    return len(objects)


def _is_known() -> bool:
    """Tell whether the count is where it is expected, and CPython's own immortal objects have the mark."""
    if sys.version_info[:2] not in _VERSIONS or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    probe = object()
    others = [probe] * 1000
    counted = ctypes.c_uint32.from_address(id(probe)).value
    return counted > len(others) and ctypes.c_uint32.from_address(id(None)).value == _MARK


def _reachable(objects: Iterable[Any]) -> dict[int, Any]:
    """Return the objects and everything that they refer to, by address."""
    latest = {id(found): found for found in objects}
    known = dict(latest)
    while latest:
        referents = gc.get_referents(*latest.values())
        latest = {id(found): found for found in referents if id(found) not in known}
        known.update(latest)
    return known
