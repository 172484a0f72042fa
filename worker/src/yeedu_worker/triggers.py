"""Polls as soon as a flow run is triggered or may be claimed again, so that regular polls can be rare.

Runs of a schedule need none of this: a poll claims them up to ten seconds before they are due.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventRelatedFilter

if TYPE_CHECKING:
    from anyio.abc import ObjectReceiveStream

    from yeedu_worker.draining import DrainingWorker

logger = logging.getLogger("prefect.workers.triggers")

_PAUSE_SECONDS = 5.0
_CHECK_SECONDS = 0.1
# A poll gets all waiting flow runs, so a full worker waits a moment, to poll once for several free places.
_ROOM_SECONDS = 0.5


async def poll_when_triggered(worker: DrainingWorker) -> None:
    """Poll whenever a flow run is scheduled, or a full worker has room again, until the worker drains.

    The server's events come over a websocket. While it cannot be reached, only the regular polls run.
    """
    while not worker.is_draining and worker.pool_id is None:
        await anyio.sleep(_CHECK_SECONDS)
    async with anyio.create_task_group() as group:
        group.start_soon(_poll_when_there_is_room_again, worker)
        while not worker.is_draining and worker.pool_id is not None:
            try:
                await _follow(worker, await worker.sources())
            except* Exception as errors:  # noqa: BLE001 - whatever fails here, the regular polls go on
                logger.info("triggers cannot be followed: %s", errors.exceptions)
            await anyio.sleep(_PAUSE_SECONDS)
        group.cancel_scope.cancel()


async def _follow(worker: DrainingWorker, sources: list[str]) -> None:
    triggered = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.Scheduled", "prefect.flow-run.AwaitingRetry"]),
        related=EventRelatedFilter(id=sources),
    )
    # Room for one: all that is triggered during a poll needs only one more poll.
    told, wanted = anyio.create_memory_object_stream[None](1)
    async with (
        told,
        wanted,
        anyio.create_task_group() as group,
        get_events_subscriber(filter=triggered) as events,
    ):
        logger.info("following triggers of the work pool")
        group.start_soon(_poll, worker, wanted)
        async for _ in events:
            try:
                told.send_nowait(None)
            except anyio.WouldBlock:
                continue
        group.cancel_scope.cancel()


async def _poll(worker: DrainingWorker, wanted: ObjectReceiveStream[None]) -> None:
    async for _ in wanted:
        await _claim(worker)


async def _poll_when_there_is_room_again(worker: DrainingWorker) -> None:
    while not worker.is_draining:
        await worker.room.wait()
        await anyio.sleep(_ROOM_SECONDS)
        worker.room = anyio.Event()
        await _claim(worker)


async def _claim(worker: DrainingWorker) -> None:
    if worker.is_draining or worker.is_full:
        return
    try:
        await worker.poll()
    except Exception as error:  # noqa: BLE001 - the regular polls go on, and report it
        logger.info("an extra poll failed: %r", error)
