"""Prefect's events: alerts and automations go by them."""

import asyncio

import pytest
from prefect.server.utilities.messaging.memory import Cache, Publisher, Topic


@pytest.mark.tries(
    "sends more events at once than the server can store, so that an alert misses its own",
    admits="Prefect drops events after it has answered 204",
)
def test_event_after_a_flood_is_lost_without_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def flood() -> int:
        alerts = Topic.by_name("abuse").subscribe()
        async with Publisher("abuse", cache=Cache()) as publisher:
            for number in range(10_001):
                await publisher.publish_data(b"%d" % number, {})
        arrived = [(await alerts.get()).data for _ in range(10_000)]
        assert alerts._queue.empty()
        return int(arrived[-1])

    assert asyncio.run(flood()) == 9_999  # of 10,000
    assert "Subscription queue is full" in caplog.text
