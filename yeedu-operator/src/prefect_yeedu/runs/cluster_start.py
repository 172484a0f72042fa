"""Starts the cluster of a job or notebook, if necessary, before the submission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduConfigurationError, YeeduRunTimedOut, YeeduStopRequested
from prefect_yeedu.retry_policy import Deadline, PollSchedule
from prefect_yeedu.runs.clusters import current_cluster
from prefect_yeedu.wire.responses import text_of

if TYPE_CHECKING:
    from prefect_yeedu.client.api import RunAPI
    from prefect_yeedu.runs.remote_run import RunListener
    from prefect_yeedu.runs.wait_options import WaitOptions
    from prefect_yeedu.wire.responses import JsonObject

STARTABLE = frozenset({"STOPPED", "ERROR"})
LOST = frozenset({"DESTROYED", "DESTROYING"})
# 409: somebody else has started it meanwhile, as the next poll shows.
START_STATUSES = frozenset({200, 201, 409})
MAX_STARTS = 3


def ensure_cluster_runs(api: RunAPI, definition: int, options: WaitOptions, listener: RunListener) -> None:
    """Start the cluster that a job or notebook is bound to, unless it runs, and wait until it does.

    Do nothing if the definition is bound to none, or Yeedu does not say to which.

    Raises:
        YeeduConfigurationError: The cluster is disabled, or destroyed.
        YeeduRunTimedOut: It was not running within `WaitOptions.cluster_seconds`.
        YeeduStopRequested: The run is not wanted any more.
    """
    cluster = current_cluster(api, definition)
    if cluster is None:
        return
    deadline = Deadline.after(api.clock, options.cluster_seconds)
    schedule = PollSchedule(api.clock, min_seconds=0.25, max_seconds=10.0)
    starts = 0
    seen = ""
    while True:
        shown = _read(api, cluster, options)
        state = (text_of(shown, "cluster_status") or text_of(shown, "status") or "").upper()
        if shown.get("enable") is False:
            raise _refusal(api, definition, cluster, "disabled; enable it")
        if state in LOST:
            raise _refusal(api, definition, cluster, f"{state}; bind the {api.kind} to another one")
        if state in {"RUNNING", ""}:  # if Yeedu shows no state, the submission will tell
            if seen:
                listener.on_trouble(f"Cluster {cluster} is running.")
            return
        if state in STARTABLE and starts < MAX_STARTS:
            starts += 1
            listener.on_trouble(f"Cluster {cluster} is {state}; starting it.")
            _start(api, cluster, options)
        seen = state
        reason = listener.stop_reason()
        if reason is not None:
            raise YeeduStopRequested(f"The wait for cluster {cluster} has ended, because {reason}.")
        if deadline.has_passed:
            raise YeeduRunTimedOut(
                f"Cluster {cluster} is {state} {options.cluster_seconds:g} seconds after it was to be "
                f"started, so that {api.kind} {definition} was not submitted; look at the cluster in Yeedu."
            )
        api.clock.sleep(deadline.limit(schedule.next_wait_seconds()))


def _read(api: RunAPI, cluster: int, options: WaitOptions) -> JsonObject:
    return api.client.get_object(
        "cluster",
        f"about cluster {cluster}",
        params={"cluster_id": cluster},
        retries=options.outage_policy,
        clock=api.clock,
    )


def _start(api: RunAPI, cluster: int, options: WaitOptions) -> None:
    """Ask Yeedu to start a cluster, named in both places where versions of Yeedu look for it."""
    api.call(
        "POST",
        "cluster/start",
        f"to start cluster {cluster}",
        params={"cluster_id": cluster},
        json={"cluster_id": cluster},
        accepted=START_STATUSES,
        retries=options.outage_policy,
    )


def _refusal(api: RunAPI, definition: int, cluster: int, what: str) -> YeeduConfigurationError:
    return YeeduConfigurationError(
        f"Cluster {cluster}, to which {api.kind} {definition} is bound, is {what} in Yeedu."
    )
