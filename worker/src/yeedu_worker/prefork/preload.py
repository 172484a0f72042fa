"""Imports once what every flow run needs, and records everything that the imports depend on.

A child may run a flow run only if that would see the same after importing everything itself. Imports depend
on the files that they read, the environment variables that they look up, and the folders that they search.
"""

import gc
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from yeedu_worker.patches.early_imports import import_engine
from yeedu_worker.patches.events import send_events_by_request
from yeedu_worker.patches.heartbeats import replace_heartbeats
from yeedu_worker.patches.patience import wait_out_outages
from yeedu_worker.patches.repeated_work import (
    complete_models,
    read_default_storage_once,
    share_certificates,
)
from yeedu_worker.patches.suspensions import observe_suspensions_later
from yeedu_worker.prefork.immortal import make_immortal
from yeedu_worker.prefork.shelf import Group, Shelf, import_groups

# What flows import themselves, and the engine later. A child gets each of these when it imports it, if that
# import would find the same file. A later one may need an earlier one.
LATER = (
    "pytz",
    "yeedu_worker.prefork.schedules",
    "requests",
    "websocket",
    "prefect_yeedu",
    "operators.yeedu",
)

# Read by the interpreter, the C library or OpenSSL, which do not go through `os.environ`.
_READ_BY_C = ("PYTHON", "LC_", "LD_", "MALLOC_", "OPENSSL_", "GLIBC_")
_READ_BY_C_NAMES = frozenset({"LANG", "LANGUAGE", "TZDIR"})
# Prefect's settings are read again in each child.
_READ_AGAIN = "PREFECT_"


class LeftOutError(Exception):
    """Flow runs start as Prefect starts them; the message says why."""


class _SweptName(str):
    """A name from a loop over the whole environment; looking it up does not count as asking for it."""

    __slots__ = ()


class _NotedEnvironment(os._Environ[str]):  # pyright: ignore[reportPrivateUsage] - what `os.environ` is
    """`os.environ` while it records the names that are asked for."""

    asked: ClassVar[set[str]] = set()

    def __getitem__(self, key: str) -> str:
        if type(key) is not _SweptName:
            self.asked.add(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        return map(_SweptName, super().__iter__())


@dataclass(frozen=True)
class Preloaded:
    """What was imported, and what it depends on.

    Attributes:
        shelf: The modules of `LATER`, kept out of `sys.modules`.
        environment: The variables that were looked up, with their values; absent ones are empty.
        files: Every imported file, and the folders that say which packages are installed.
        versions: The time of change and size of each of these files.
    """

    shelf: Shelf
    environment: dict[bytes, bytes]
    files: Sequence[str]
    versions: Sequence[tuple[int, int]]

    def changed_file(self) -> str:
        """Return a file that has changed since it was imported, or an empty string."""
        if (now := _versions(self.files)) == self.versions:
            return ""
        return next(
            file
            for file, before, after in zip(self.files, self.versions, now, strict=True)
            if before != after
        )

    def differing_variable(self, environment: dict[bytes, bytes]) -> str:
        """Return a variable with another value than the imports saw, or an empty string."""
        for name, value in self.environment.items():
            if environment.get(name, b"") != value:
                return os.fsdecode(name)
        for name in environment:
            if name not in self.environment and _is_read_by_c(os.fsdecode(name)):
                return os.fsdecode(name)
        return ""


def preload() -> Preloaded:
    """Import everything, and check that forking is safe.

    Raises:
        LeftOutError: The imports of this Prefect are not known.
        RuntimeError: An import started a thread, which a fork would not have.
    """
    gc.disable()  # a collection leaves holes; forks that fill them copy the pages around
    asked, groups = _import_with_notes()
    shelf = Shelf(groups)
    shelf.take_away()
    # Started threads would be missing in a child, with whatever locks they hold.
    if threading.active_count() != 1 or len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise RuntimeError(f"imports left threads behind ({names}), so forking is not safe")
    files = _files([*sys.modules.values(), *shelf.modules()])
    names = {name for name in asked if not name.startswith(_READ_AGAIN)}
    names |= {name for name in os.environ if _is_read_by_c(name)}
    environment = {os.fsencode(name): os.environb.get(os.fsencode(name), b"") for name in names}
    make_immortal()
    gc.freeze()
    return Preloaded(shelf, environment, files, _versions(files))


def _import_with_notes() -> tuple[set[str], list[Group]]:
    """Import everything, without setting up logging, which each child does for itself.

    Returns:
        The variables that were looked up, and the modules of `LATER` in groups.
    """
    ordinary = type(os.environ)
    os.environ.__class__ = _NotedEnvironment
    try:
        if not import_engine():
            raise LeftOutError(import_engine.why_not)
        groups = import_groups(LATER)
        len(sys.modules["pytz"].all_timezones_set)  # reads a file for each at first use
        complete_models()
        share_certificates(at_once=True)
        replace_heartbeats()
        wait_out_outages()
        observe_suspensions_later()
        send_events_by_request()
        read_default_storage_once()
    finally:
        os.environ.__class__ = ordinary
    return _NotedEnvironment.asked, groups


def _files(modules: Iterable[ModuleType]) -> Sequence[str]:
    """Return the files of modules, and the folders whose entries say which packages are installed."""
    specs = [getattr(module, "__spec__", None) for module in modules]
    files = {spec.origin for spec in specs if spec and spec.has_location and spec.origin}
    return sorted(files) + [path for path in sys.path if Path(path).name.endswith("-packages")]


def _versions(files: Iterable[str]) -> Sequence[tuple[int, int]]:
    return [_version(file) for file in files]


def _version(file: str) -> tuple[int, int]:
    try:
        status = os.stat(file)  # noqa: PTH116 - thousands of them for each run
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _is_read_by_c(name: str) -> bool:
    return name in _READ_BY_C_NAMES or name.startswith(_READ_BY_C)
