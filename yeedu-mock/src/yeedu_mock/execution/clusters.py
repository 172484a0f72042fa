"""Starts and stops clusters, with their states and start times; their runs end with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from yeedu_mock.errors import ConflictError
from yeedu_mock.state.enums import ClusterStatus, RunStatus
from yeedu_mock.state.records import Cluster, ClusterEvent

if TYPE_CHECKING:
    from yeedu_mock.control.switches import Switches
    from yeedu_mock.execution.runs import RunService
    from yeedu_mock.state.store import Store


class ClusterService:
    """Changes the states of clusters.

    Args:
        store: Where clusters are kept.
        runs: Ends the runs on a cluster that stops.
        switches: How long a start takes, and how lost runs end.
    """

    def __init__(self, store: Store, runs: RunService, switches: Switches) -> None:
        self._store = store
        self._runs = runs
        self._switches = switches
        self._starting: dict[int, asyncio.Task[None]] = {}

    def recover(self) -> None:
        """Stop the clusters that an earlier process was starting."""
        for cluster in self._store.all(Cluster):
            if cluster.status is ClusterStatus.INITIATING:
                self._set(cluster, ClusterStatus.STOPPED)

    async def close(self) -> None:
        """Cancel the starts of clusters."""
        tasks = [*self._starting.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, cluster: Cluster) -> None:
        """Bring a cluster to RUNNING; through INITIATING if starting takes time.

        Raises:
            ConflictError: It is in no state from which it can be started.
        """
        if cluster.status not in {ClusterStatus.STOPPED, ClusterStatus.ERROR}:
            raise ConflictError(f"The cluster {cluster.id} is {cluster.status}; it cannot be started.")
        if not self._switches.cluster_start_seconds:
            self._set(cluster, ClusterStatus.RUNNING)
            return
        self._set(cluster, ClusterStatus.INITIATING)
        task = asyncio.create_task(self._start(cluster), name=f"cluster-{cluster.id}")
        self._starting[cluster.id] = task
        task.add_done_callback(lambda _: self._starting.pop(cluster.id, None))

    async def leave(self, cluster: Cluster, status: ClusterStatus) -> None:
        """Stop a cluster, or destroy it (DESTROYED); its runs end.

        Raises:
            ConflictError: It is in that state already, or was destroyed.
        """
        if cluster.status in {status, ClusterStatus.DESTROYED}:
            raise ConflictError(f"The cluster {cluster.id} is {cluster.status}.")
        await self.force(cluster, status)

    async def force(self, cluster: Cluster, status: ClusterStatus) -> None:
        """Set a cluster's state; its runs end unless that is RUNNING."""
        if (task := self._starting.pop(cluster.id, None)) is not None:
            task.cancel()
        self._set(cluster, status)
        if status is ClusterStatus.RUNNING:
            return
        lost = RunStatus(self._switches.lost_cluster_status)
        for run in self._runs.unfinished():
            if run.cluster_id == cluster.id and run.status is not RunStatus.STOPPING:
                await self._runs.force(run, lost, f"The cluster {cluster.id} is {status}.")

    async def _start(self, cluster: Cluster) -> None:
        await asyncio.sleep(self._switches.cluster_start_seconds)
        self._set(cluster, ClusterStatus.RUNNING)

    def _set(self, cluster: Cluster, status: ClusterStatus) -> None:
        cluster.status = status
        cluster.events.append(ClusterEvent(status=status))
        self._store.save(cluster)
