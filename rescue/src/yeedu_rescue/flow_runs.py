"""Flow runs as the server reports them, and the only functions that change their state."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yeedu_rescue.errors import ServerRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from yeedu_rescue.server import JSON, Server

logger = logging.getLogger(__name__)

# The labels by which a worker of this platform claims a run, and tells the heartbeat interval of its process.
# The name has to equal Prefect's own label: another worker may have taken a run that was restarted.
WORKER_LABEL, HEARTBEAT_LABEL = "yeedu-prefect.worker.name", "yeedu-prefect.heartbeat-seconds"
MARK = "rescued: "  # the prefix of every message that this service leaves in a run's history
_FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})
_NAMESPACE = uuid.UUID("1b0b8a53-4c8f-4a37-9d5e-7f2f4f5a3c11")


@dataclass(frozen=True)
class FlowRun:
    """A snapshot of a flow run.

    Attributes:
        id: Its id.
        name: Its name; any text.
        state_id: The id of its state.
        state_type: Such as ``RUNNING``.
        state_name: Such as ``AwaitingRetry``.
        state_message: Why it is in that state.
        since: When it entered that state, ISO 8601, by the server's clock.
        deployment_id: Empty for a run that was started without a deployment.
        work_pool: The pool from which a worker took it; empty if none did.
        tags: Its deployment's and its own.
        retry_type: ``in_process`` while the process that runs it waits for a retry.
        due: When it was to start next, ISO 8601; empty for none.
        worker: The name of the worker that took it last; empty if none has reported it.
        beats_seconds: The heartbeat interval of its process, if a worker of this platform took it last;
            0 if another one did, or if that is unknown.
        parent_task_run: For a subflow, its task run in the caller; empty for others.
    """

    id: str
    name: str
    state_id: str
    state_type: str
    state_name: str
    state_message: str
    since: str
    deployment_id: str
    work_pool: str
    tags: tuple[str, ...]
    retry_type: str
    due: str
    worker: str
    beats_seconds: float
    parent_task_run: str

    @property
    def is_ours(self) -> bool:
        """Whether a worker of this platform took it last."""
        return self.beats_seconds > 0

    def __str__(self) -> str:
        return f"run {' '.join(self.name.split())[:60]!r} ({self.id})"


def find(server: Server, scope: JSON, **conditions: JSON) -> Iterator[FlowRun]:
    """Yield the flow runs for which all conditions of the server's filter hold.

    Args:
        server: The server.
        scope: The work pools that this service covers; see `Settings.scope`.
        conditions: The filter of the flow runs.

    Raises:
        ServerError: See `errors`.
    """
    for item in server.pages("/flow_runs/filter", {"flow_runs": conditions, "sort": "ID_DESC", **scope}):
        if item["state"] is not None:
            yield _flow_run(item)


def _flow_run(item: JSON) -> FlowRun:
    state: JSON = item["state"]
    labels: JSON = item.get("labels") or {}
    worker = str(labels.get("prefect.worker.name") or "")
    is_ours = bool(worker) and labels.get(WORKER_LABEL) == worker
    return FlowRun(
        id=item["id"],
        name=item["name"],
        state_id=state["id"],
        state_type=state["type"],
        state_name=state["name"],
        state_message=state["message"] or "",
        since=state["timestamp"],
        deployment_id=item["deployment_id"] or "",
        work_pool=item.get("work_pool_name") or "",
        tags=tuple(item["tags"]),
        retry_type=item["empirical_policy"].get("retry_type") or "",
        due=item.get("next_scheduled_start_time") or state["state_details"].get("scheduled_time") or "",
        worker=worker,
        beats_seconds=float(labels.get(HEARTBEAT_LABEL) or 0) if is_ours else 0.0,
        parent_task_run=item.get("parent_task_run_id") or "",
    )


def rescues(server: Server, run: FlowRun, kind: str) -> int:
    """Count from a run's history how often it was rescued in one way.

    Raises:
        ServerError: See `errors`.
    """
    states: list[JSON] = server.get(f"/flow_run_states/?flow_run_id={run.id}")
    return sum((state["message"] or "").startswith(MARK + kind) for state in states)


def has_ended(server: Server, parent_task_run: str) -> bool:
    """Return whether a subflow's caller has ended, or no longer exists.

    Raises:
        ServerError: See `errors`.
    """
    try:
        caller: JSON = server.get(f"/task_runs/{parent_task_run}")
        flow_run: JSON = server.get(f"/flow_runs/{caller['flow_run_id']}")
    except ServerRefused as refused:
        if refused.status != 404:
            raise
        return True
    return flow_run["state_type"] in _FINAL


def crash(server: Server, run: FlowRun, why: str) -> bool:
    """Set a run's state to CRASHED; return whether this call changed it."""
    return _set_state(server, run, {"type": "CRASHED", "name": "Crashed", "message": MARK + why})


def cancel(server: Server, run: FlowRun, why: str) -> bool:
    """Set a run whose process cannot cancel it to CANCELLED; return whether this call changed it."""
    return _set_state(server, run, {"type": "CANCELLED", "name": "Cancelled", "message": MARK + why})


def start_again(server: Server, run: FlowRun, why: str, due: datetime) -> bool:
    """Put a run back into its queue, as Prefect does for a retry; return whether this call changed it.

    Args:
        server: The server.
        run: A run with a deployment.
        why: For the run's history.
        due: When a worker may take it.
    """
    details = {"scheduled_time": due.isoformat()}
    state: JSON = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": MARK + why}
    was_changed = _set_state(server, run, {**state, "state_details": details})
    if was_changed:
        # Its process is gone; with the old id, a cancellation would wait for that process's worker.
        server.patch(f"/flow_runs/{run.id}", {"infrastructure_pid": None})
    return was_changed


def _set_state(server: Server, run: FlowRun, state: JSON) -> bool:
    """Change a run's state, unless the state has changed since it was read.

    The transition id is derived from the state that the run leaves, so that only one of several instances of
    this service succeeds. Prefect's rules apply: slots that the run held are released.
    """
    try:
        current: JSON = server.get(f"/flow_runs/{run.id}")
        if current["state_id"] != run.state_id:
            return False
        details: JSON = {
            **state.get("state_details", {}),
            "transition_id": str(uuid.uuid5(_NAMESPACE, f"{run.state_id} {state['name']}")),
        }
        body = {"state": {**state, "state_details": details}, "force": False}
        answer: JSON = server.post(f"/flow_runs/{run.id}/set_state", body)
    except ServerRefused as refused:
        if refused.status != 404:  # deleted meanwhile: nothing is left to rescue
            raise
        return False
    if answer["status"] != "ACCEPT":
        return False
    logger.info("%s: %s -> %s: %s", run, run.state_name, state["name"], state["message"])
    return True
