"""Handles Ctrl-C, SIGTERM and a closed terminal alike: all of them interrupt a command."""

import signal
from types import FrameType

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP


def raise_on_interrupts() -> None:
    """Raise `KeyboardInterrupt` for each of these signals, so that a command can stop what it started."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def ignore_interrupts() -> None:
    """Ignore these signals, so that a second Ctrl-C does not interrupt the cleanup."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
