"""The history of a cluster: its states, its errors and logs, and the events of its only node."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from yeedu_mock.routes.access import Identifier, TheMock, TheTenant
from yeedu_mock.routes.clusters import ClusterInQuery
from yeedu_mock.routes.definitions import find_cluster
from yeedu_mock.routes.responses import (
    ByteCount,
    LineCount,
    PageLimit,
    PageNumber,
    attachment,
    one_page,
    tail_of,
)
from yeedu_mock.state.records import Cluster, ClusterEvent

router = APIRouter(prefix="/cluster", tags=["clusters"])

ONLY_NODE = 0


@router.get("/status")
async def states(
    found: ClusterInQuery, page_number: PageNumber = 1, limit: PageLimit = 100
) -> dict[str, Any]:
    """List the states that a cluster has been in, the latest first."""
    events = _events(found)
    ends = [event.at.isoformat() for event in events[1:]]
    states = [
        {
            "cluster_id": found.id,
            "cluster_status_id": number,
            "cluster_status": event.status,
            "start_time": event.at.isoformat(),
            "end_time": end,
        }
        for number, (event, end) in enumerate(zip(events, [*ends, None], strict=True), start=1)
    ]
    return one_page(states[::-1], page_number, limit)


@router.get("/node/events")
async def node_events(
    found: ClusterInQuery,
    node_number: int | None = None,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List the events of a cluster's only node, the latest first."""
    events = [
        {
            "cluster_id": found.id,
            "node_number": ONLY_NODE,
            "node_status_id": number,
            "node_status": event.status,
            "at": event.at.isoformat(),
        }
        for number, event in reversed([*enumerate(_events(found), start=1)])
        if node_number in {None, ONLY_NODE}
    ]
    return one_page(events, page_number, limit)


@router.get("/{cluster_id:identifier}/errors")
async def errors(
    cluster_id: Identifier,
    mock: TheMock,
    tenant: TheTenant,
    page_number: PageNumber = 1,
    limit: PageLimit = 100,
) -> dict[str, Any]:
    """List a cluster's errors; the mock's clusters have none."""
    find_cluster(mock, tenant, cluster_id, None)
    return one_page([], page_number, limit)


@router.get("/log/{stream}")
async def log(
    stream: Literal["stdout", "stderr"],
    found: ClusterInQuery,
    last_n_lines: LineCount = None,
    file_size_bytes: ByteCount = None,
) -> Response:
    """Return a cluster's log, whole or its end; nothing is ever written to its stderr."""
    lines = [
        f"{event.at.isoformat()} The cluster {found.name} is {event.status}." for event in _events(found)
    ]
    text = "".join(f"{line}\n" for line in lines) if stream == "stdout" else ""
    return PlainTextResponse(
        tail_of(text.encode(), last_n_lines, file_size_bytes), headers=attachment(f"{stream}.log")
    )


def _events(cluster: Cluster) -> list[ClusterEvent]:
    return cluster.events or [ClusterEvent(status=cluster.status, at=cluster.modified_at)]
