"""Let time pass faster for the operator, and for nobody else in the process.

This is the only place that reaches into the operator, and it changes no more than what time is there: its own
waits, its clocks, and the time limits that it gives to HTTP and to the kernel's websocket. Everything in
`tests/weather` that is called seconds is of this faster time, unless it says "real".
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import threading
import time
import types
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import requests.adapters
import websocket

import prefect_yeedu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPEED = 10.0


class FastTime(types.ModuleType):
    """The module `time`, in which a second is a tenth of one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() * SPEED

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds / SPEED)


def scaled(changes: dict[str, Any]) -> dict[str, Any]:
    """Return switches, or a fault, whose seconds are real ones."""
    return {
        name: value / SPEED if name.endswith("_seconds") and value else value
        for name, value in changes.items()
    }


@contextmanager
def hurry() -> Iterator[None]:
    """Let time pass faster for the operator until the block ends."""
    replaced: dict[int, Any] = {
        id(time): FastTime("time"),
        id(time.monotonic): FastTime.monotonic,
        id(time.sleep): FastTime.sleep,
    }
    with ExitStack() as patches:
        for found in pkgutil.walk_packages(prefect_yeedu.__path__, "prefect_yeedu."):
            module = importlib.import_module(found.name)
            for name, value in list(vars(module).items()):
                if id(value) in replaced:
                    patches.enter_context(patch.object(module, name, replaced[id(value)]))
        patches.enter_context(_shortened(threading.Event, "wait", _if_ours))
        patches.enter_context(_shortened(websocket.WebSocket, "settimeout", lambda limit: limit / SPEED))
        patches.enter_context(_shortened_requests())
        yield


def _shortened(owner: type, name: str, shorter: Callable[[float], float]) -> Any:
    """Give a method's time limit, its only argument, as another one."""
    method: Callable[..., Any] = getattr(owner, name)

    def call(self: Any, timeout: float | None = None) -> Any:
        return method(self, None if timeout is None else shorter(timeout))

    return patch.object(owner, name, call)


def _if_ours(limit: float) -> float:
    """Shorten the limit of a wait that the operator's own code asks for."""
    caller = sys._getframe(2).f_globals.get("__name__")
    return limit / SPEED if str(caller).startswith("prefect_yeedu") else limit


def _shortened_requests() -> Any:
    send = requests.adapters.HTTPAdapter.send

    def fast_send(self: Any, request: Any, **options: Any) -> Any:
        limits = options.get("timeout")
        if isinstance(limits, tuple):
            options["timeout"] = tuple(limit and limit / SPEED for limit in limits)
        return send(self, request, **options)

    return patch.object(requests.adapters.HTTPAdapter, "send", fast_send)
