"""The labels that a worker sets on its flow runs: its name, and their heartbeat interval.

From that interval, the rescue service (`yeedu_rescue.flow_runs`) judges a run's silence. It leaves alone the
runs of workers that set no such labels, for example those of other teams on the same server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.settings import get_current_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect.types import KeyValueLabels
    from prefect.workers.process import ProcessWorker

WORKER_LABEL, HEARTBEAT_LABEL = "yeedu-prefect.worker.name", "yeedu-prefect.heartbeat-seconds"
_FREQUENCY = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"


def labels_of(worker: ProcessWorker, environment: Mapping[str, str | None]) -> KeyValueLabels:
    """Return the labels for a flow run: Prefect's own, which go in the same request, and these.

    Args:
        worker: The worker that runs it; knows its work pool already.
        environment: The run's process's, as far as it differs from the worker's.
    """
    labels: KeyValueLabels = {
        "prefect.worker.name": worker.name,
        "prefect.worker.type": worker.type,
        "prefect.work-pool.name": worker.work_pool.name,
        "prefect.work-pool.id": str(worker.work_pool.id),
    }
    if seconds := _heartbeat_seconds(environment):
        labels |= {WORKER_LABEL: worker.name, HEARTBEAT_LABEL: seconds}
    return labels


def _heartbeat_seconds(environment: Mapping[str, str | None]) -> int:
    """Return the seconds between heartbeats of the run's process; 0 if it sends none."""
    own = environment.get(_FREQUENCY) or ""
    return int(own) if own.isdecimal() else get_current_settings().flows.heartbeat_frequency or 0
