"""Imports Prefect's engine before there is a flow run, for forks of this process.

What belongs to each run is left out: importing Prefect sets up logging according to the run's settings.
"""

from __future__ import annotations

import importlib

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

# What the stock engine has imported by the time it loads a flow from git. At that moment, a fork must have
# nothing else in `sys.modules`: a repository may have its own modules under any other name.
_ENGINE = (
    "prefect.main",
    "prefect.flow_engine",
    "prefect.deployments.steps.core",
    "prefect.deployments.steps.pull",
    "prefect.runner.storage",
    "prefect.client.orchestration",
    "anyio._backends._asyncio",
    "pydantic.v1",
    "rich._emoji_codes",
    "yeedu_worker.patches.git_clone",
)
_SET_UP = Place("prefect.logging.configuration:setup_logging", "(incremental=)")


@PATCHES.declare(
    "early imports",
    _SET_UP,
    # The others are not checked: that would import their packages, and with them all of Prefect.
    Place("prefect.main"),
    Place("prefect.flow_engine"),
    purpose="flow runs are forks of a process that has imported Prefect already",
)
def import_engine() -> None:
    """Import what an engine needs, without setting up logging."""
    set_up_logging = _SET_UP.find()
    _SET_UP.replace(_set_up_nothing)
    try:
        for name in _ENGINE:
            importlib.import_module(name)
    finally:
        _SET_UP.replace(set_up_logging)


def _set_up_nothing() -> None:
    """Stand in for Prefect's set-up of logging."""
