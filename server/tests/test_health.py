"""Events that Prefect drops in a flood are counted, and told in few lines."""

import asyncio
import logging
from typing import Any

import pytest
from health import QUEUES, DroppedEvents
from prefect.server.utilities.messaging.memory import MemoryMessage, Topic


def test_dropped_events_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    dropped = DroppedEvents()
    logger = logging.getLogger(QUEUES)
    logger.addFilter(dropped)
    logger.propagate, before = True, logger.propagate

    async def flood() -> None:
        topic = Topic("flooded")
        subscription: Any = topic.subscribe()
        subscription._queue = asyncio.Queue(maxsize=10)
        for _ in range(17):
            await topic.publish(MemoryMessage(b"{}", {}))

    try:
        with caplog.at_level("WARNING", QUEUES):
            logger.addHandler(caplog.handler)
            asyncio.run(flood())
            logger.warning("something else")
    finally:
        logger.removeFilter(dropped)
        logger.removeHandler(caplog.handler)
        logger.propagate = before
    assert dropped.count == 7
    told = {record.getMessage() for record in caplog.records}
    assert "something else" in told
    assert sum("queue is full" in line for line in told) == 1
