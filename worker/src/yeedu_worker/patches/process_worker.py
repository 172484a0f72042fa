"""What the platform's worker, which drains and never starts a run twice, relies on in Prefect's worker."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

if TYPE_CHECKING:
    from collections.abc import Callable

_STARTER = Place(
    "prefect.workers.process:EngineCommandStarter",
    "(*, tmp_dir=, storage=, entrypoint=, command=, cwd=, env=, deployment_name=, stream_output=, "
    "heartbeat_seconds=, control_channel=, isolate_process_group=, env_overrides_settings=)",
)
_SUPERVISORS_STARTER = Place("prefect.runner._workspace_starter:EngineCommandStarter", _STARTER.signature)


def _hook(name: str, signature: str, *names: str) -> Place:
    return Place(f"prefect.workers.base:BaseWorker.{name}", signature, names)


@PATCHES.declare(
    "hand-over",
    _hook("get_and_submit_flow_runs", "(self)", "_get_scheduled_flow_runs", "_submit_scheduled_flow_runs"),
    _hook("_get_scheduled_flow_runs", "(self)"),
    _hook("_submit_scheduled_flow_runs", "(self, flow_run_response)", "_submit_run", "_runs_task_group"),
    _hook("_submit_run", "(self, flow_run)", "_submitting_flow_run_ids", "_cancelling_observer"),
    _hook("_submit_run_and_capture_errors", "(self, flow_run, task_status=)", "run", "_release_limit_slot"),
    _hook("_release_limit_slot", "(self, flow_run_id)"),
    Place("prefect.workers.process:ProcessWorker.run", "(self, flow_run, configuration, task_status=)"),
    purpose="no flow run has two processes at a time, and none is left behind",
    is_needed=True,
)
def insist_on_hooks() -> None:
    """Refuse a Prefect whose worker does not ask `hooks` before it claims and starts a flow run."""


@PATCHES.declare(
    "fewer requests for a start",
    _hook("_submit_run_and_capture_errors", "(self, flow_run, task_status=)"),
    _hook("_give_worker_labels_to_flow_run", "(self, flow_run_id)"),
    _hook("_propose_submitting_state", "(self, flow_run)"),
    purpose="saves two requests for each flow run: a process is there at once, and writes its labels itself",
)
def leave_out_requests() -> None:
    """Leave out the two requests; `hooks` checks whether this is in force."""


@PATCHES.declare(
    "process groups",
    _STARTER,
    Place("prefect.workers.process:ProcessWorker.run", names=("EngineCommandStarter",)),
    purpose="a cancellation reaches all that a flow run has started, where the work pool has a command",
)
def separate_process_groups() -> None:
    """Start each flow run as the leader of a process group, so that a cancellation reaches all of it.

    Prefect does so if it chooses the command itself. If the work pool does, Prefect signals only the one
    process, and then waits for output from whatever that has started, as long as that lives.
    """
    _STARTER.replace(partial(_STARTER.find(), isolate_process_group=sys.platform != "win32"))


@PATCHES.declare(
    "guards without a command",
    _SUPERVISORS_STARTER,
    Place(
        "prefect.runner._workspace_starter:WorkspaceResolvingEngineCommandStarter.start",
        "(self, flow_run, task_status=)",
        ("EngineCommandStarter",),
    ),
    Place(
        "prefect.workers.process:ProcessWorker.run",
        names=("_command_configured", "WorkspaceResolvingEngineCommandStarter"),
    ),
    purpose="nothing outlives a flow run, where the work pool has no command either",
)
def guard_supervisors(guarded: Callable[[str], str | None]) -> None:
    """Wrap what Prefect starts in a guard, where the work pool has no command.

    Prefect then starts a supervisor, which becomes the engine once it has the flow's code. The command that
    Prefect prepares for such a run is not used.

    Args:
        guarded: Returns a command wrapped in a guard.
    """
    starter = _SUPERVISORS_STARTER.find()

    def guarded_starter(*, command: str, **options: Any) -> Any:
        return starter(command=guarded(command), **options)

    _SUPERVISORS_STARTER.replace(guarded_starter)
