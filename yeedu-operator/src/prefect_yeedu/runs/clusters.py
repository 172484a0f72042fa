"""Recognizes a run that failed for lack of resources, and moves its definition to another cluster.

The words to look for are those of yeedu-protocol section 4.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduCellFailed, YeeduError, YeeduRunCancelled, YeeduRunFailed
from prefect_yeedu.retry_policy import RetryPolicy
from prefect_yeedu.wire.responses import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prefect_yeedu.client.api import RunAPI
    from prefect_yeedu.runs.record import Ledger
    from prefect_yeedu.runs.remote_run import RemoteRun, RunListener

LOG_LINES = 1000
_MARKERS = re.compile(
    r"exit code:?\s*(?:139|134|52)\b|oomkilled|outofmemoryerror|java heap space"
    r"|gc overhead limit exceeded|sigsegv|sigabrt|segmentation fault"
    r"|sparkexitcode|exceed_max_executor_failures|driver_timeout|killed[^\n]{0,200}exceeding memory limits",
    re.IGNORECASE,
)
# Traces of a run that was killed: for lack of memory, or by whoever stopped it.
_KILL_MARKERS = re.compile(r"exit code:?\s*(?:137|143)\b|killed process|sigkill|sigterm", re.IGNORECASE)


def find_marker(text: str, *, is_stopped: bool = False) -> str | None:
    """Return the first words in a text that indicate exhausted resources.

    Args:
        text: An error, a traceback or a log.
        is_stopped: Whether the run was stopped, which then explains that it was killed.
    """
    found = _MARKERS.search(text) or (None if is_stopped else _KILL_MARKERS.search(text))
    return found[0] if found else None


def exhaustion_marker(run: RemoteRun, error: YeeduError) -> str | None:
    """Return what shows that a run failed because resources ran out, or None if nothing does.

    Yeedu's own errors are searched first, then a cell's traceback, then the end of the logs.
    """
    if isinstance(error, YeeduRunCancelled) or (run.state.is_stopped and not run.has_asked_to_stop):
        return None  # it was stopped on purpose
    texts = ((text, False) for text in _texts_of(error))
    logs = ((text, run.state.is_stopped) for text in _logs(run.api, run.run_id))
    markers = (find_marker(text, is_stopped=is_stopped) for text, is_stopped in chain(texts, logs))
    return next((marker for marker in markers if marker), None)


def _texts_of(error: YeeduError) -> Iterator[str]:
    yield str(error)
    if isinstance(error, YeeduRunFailed):
        yield from error.workflow_errors
    if isinstance(error, YeeduCellFailed):
        yield error.traceback


def _logs(api: RunAPI, run_id: int) -> Iterator[str]:
    for stream in ("stderr", "stdout"):
        try:
            yield api.log_text(run_id, stream, last_lines=LOG_LINES, retries=RetryPolicy(attempts=2))
        except YeeduError:
            continue  # a log that cannot be read says nothing


def current_cluster(api: RunAPI, definition: int) -> int | None:
    """Return the cluster that a job or notebook is bound to, or None if Yeedu does not say."""
    return number_of(api.definition(definition), "cluster_id")


def bind_cluster(api: RunAPI, definition: int, cluster: int) -> None:
    """Bind a job or notebook to a cluster."""
    api.call(
        "PUT",
        api.path(api.routes.definition),
        f"to run {api.kind} {definition} on cluster {cluster}",
        params={api.routes.definition_field: definition},
        json={"cluster_id": cluster},
    )


def take_up_clusters(
    api: RunAPI, definition: int, cluster_ids: Sequence[int], listener: RunListener, ledger: Ledger
) -> tuple[int | None, list[int]]:
    """Return the definition's own cluster, and the clusters that are still to be tried.

    An attempt that was killed may have left the definition on another cluster. If it was one of this call,
    the sequence goes on from there; if it was somebody else's, the definition is moved back first. If Yeedu
    does not say which cluster is its own, it is not moved at all, because it could not be moved back.
    """
    move = ledger.read_move()
    own_cluster = current_cluster(api, definition) if move is None else move.own_cluster
    waiting = [cluster for cluster in dict.fromkeys(cluster_ids) if cluster != own_cluster]
    if own_cluster is None:
        listener.on_trouble(
            f"Yeedu does not say on which cluster {api.kind} {definition} belongs, so it is not moved to "
            "another one when resources run out: cluster_ids has no effect."
        )
        return None, []
    if move is None:
        return own_cluster, waiting
    if not move.is_of_this_call or move.cluster not in waiting:
        restore_cluster(api, definition, own_cluster, listener, ledger)
        return own_cluster, waiting
    if current_cluster(api, definition) != move.cluster:
        bind_cluster(api, definition, move.cluster)
    return own_cluster, waiting[waiting.index(move.cluster) + 1 :]


def restore_cluster(
    api: RunAPI, definition: int, cluster: int | None, listener: RunListener, ledger: Ledger
) -> None:
    """Bind a job or notebook to its own cluster again; a failure is only reported.

    After a failure the next call for the same definition with fallback clusters tries again.
    """
    if cluster is None:
        return
    api = replace(api, clock=api.client.clock)  # one that waits even if the call is not wanted any more
    try:
        if current_cluster(api, definition) != cluster:
            bind_cluster(api, definition, cluster)
    except YeeduError as error:
        listener.on_trouble(
            f"The {api.kind} {definition} could not be bound to its own cluster {cluster} again; "
            f"do it by hand. {error}"
        )
    else:
        ledger.forget_move()
