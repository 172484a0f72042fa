"""Modules that Prefect imports for itself, and that a flow run gets ready-made."""

from __future__ import annotations

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

# Schedules are read with them, of which a deployment has some. A later one may need an earlier one.
_MODULES = ("prefect._internal.pytz", "prefect._vendor.croniter")


@PATCHES.declare(
    "preloaded modules",
    *(Place(name) for name in _MODULES),
    purpose="what reads schedules is imported once, not by each flow run",
)
def _name(names: list[str]) -> None:
    names.extend(_MODULES)


def private_modules() -> tuple[str, ...]:
    """Return the names of those that are private; none where this Prefect is not known to have them."""
    names: list[str] = []
    _name(names)
    return tuple(names)
