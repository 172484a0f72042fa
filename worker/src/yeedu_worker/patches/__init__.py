"""Everything that the worker and its flow runs change inside Prefect, each with its purpose.

No other module of the worker names anything private in Prefect, and what has a public way is not a patch.
`yeedu_worker.patching` says when one is left out.
"""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from yeedu_worker.free_space import prefect_home
from yeedu_worker.patch_report import FILE
from yeedu_worker.patching import Patches, PatchState, left_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATCHES = Patches()
_MODULES = (
    *("process_worker", "cancellations", "repeated_work"),
    *("run_settings", "heartbeats", "suspensions", "events", "patience", "git_clone", "early_imports"),
)


def report() -> list[PatchState]:
    """Return the state of every patch, in this process and in those of flow runs."""
    for name in _MODULES:
        importlib.import_module(f"{__name__}.{name}")
    return PATCHES.report()


def keep_report(states: Sequence[PatchState], environment: Mapping[str, str]) -> None:
    """Write the report as JSON into Prefect's home, for programs that do not import Prefect.

    It contains ``left_out``, the line of `left_out`, and ``patches``, the fields of each `PatchState`.
    """
    file = prefect_home(environment) / FILE
    written = file.with_name(f"{FILE}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        report = {"left_out": left_out(states), "patches": [asdict(state) for state in states]}
        written.write_text(json.dumps(report, indent=1), encoding="utf-8")
        written.replace(file)
    except OSError as error:
        print(f"worker: which patches are in force cannot be written to {file}: {error.strerror}")
