"""No place that alerts go to holds anything else up."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import alert_delivery
import pytest
from alert_delivery import AT_ONCE
from patches import deliver_beside_other_actions
from prefect.server.events import actions
from prefect.server.events.services.actions import Actions
from prefect.server.utilities.messaging import create_publisher
from prefect.server.utilities.messaging.memory import Topic

DEAD, LIVING = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Have Prefect's own service work off actions; each does what is given, for its kind or its block."""
    monkeypatch.setattr(actions, "consumer", actions.consumer)
    monkeypatch.setattr(Topic, "_topics", {})

    def at_work(handle: Callable[[str], Awaitable[None]], story: Callable[[Any], Awaitable[None]]) -> None:
        class Stock:
            async def __aenter__(self) -> Any:
                async def work_off(message: Any) -> None:
                    action = json.loads(message.data)["action"]
                    await handle(action.get("block_document_id") or action["type"])

                return work_off

            async def __aexit__(self, *_: object) -> None:
                """End."""

        monkeypatch.setattr(actions, "consumer", Stock)
        assert deliver_beside_other_actions()

        async def tell() -> None:
            service = Actions()
            running = asyncio.create_task(service.start())
            await asyncio.sleep(0)
            async with create_publisher("actions") as publisher:

                async def act(kind: str, block: object = None) -> None:
                    action = {"type": kind, "block_document_id": block and str(block)}
                    await publisher.publish_data(json.dumps({"action": action}).encode(), {})

                try:
                    await asyncio.wait_for(story(act), 60)
                finally:
                    await service.stop()
                    await asyncio.gather(running, return_exceptions=True)

        asyncio.run(tell())

    return at_work


@pytest.mark.parametrize("kind", ["send-notification", "call-webhook"])
def test_dead_place_holds_neither_other_actions_nor_other_places_up(at_work: Any, kind: str) -> None:
    done: list[str] = []
    under_way = 0
    most = 0
    all_done = asyncio.Event()

    async def handle(what: str) -> None:
        nonlocal under_way, most
        if what == str(DEAD):
            under_way += 1
            most = max(most, under_way)
            await asyncio.Event().wait()
        done.append(what)
        if len(done) == 6:
            all_done.set()

    async def story(act: Any) -> None:
        for _ in range(100):
            await act(kind, DEAD)
        for _ in range(3):
            await act("run-deployment")
            await act("send-notification", LIVING)
        await all_done.wait()

    at_work(handle, story)
    assert sorted(done) == sorted([*["run-deployment"] * 3, *[str(LIVING)] * 3])
    assert most == AT_ONCE


def test_every_alert_is_delivered_once_the_place_is_back(at_work: Any) -> None:
    is_back, all_done = asyncio.Event(), asyncio.Event()
    delivered = 0

    async def handle(_: str) -> None:
        nonlocal delivered
        await is_back.wait()
        delivered += 1
        if delivered == 50:
            all_done.set()

    async def story(act: Any) -> None:
        for _ in range(50):
            await act("send-notification", DEAD)
        await act("send-notification", LIVING)  # in a lane of its own
        is_back.set()
        await all_done.wait()

    at_work(handle, story)
    assert delivered >= 50


def test_alerts_that_wait_are_bounded_and_failures_end_no_lane(
    at_work: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alert_delivery, "MAX_WAITING", 3)
    handled = 0
    may_fail, is_over = asyncio.Event(), asyncio.Event()

    async def handle(what: str) -> None:
        nonlocal handled
        if what == "run-deployment":
            may_fail.set()
            return
        await may_fail.wait()
        handled += 1
        if handled == 3:
            is_over.set()
        raise OSError("https://address-that-is-a-secret")

    async def story(act: Any) -> None:
        for _ in range(5):
            await act("send-notification", DEAD)
        await act("run-deployment")
        await is_over.wait()
        await asyncio.sleep(0)

    with caplog.at_level("ERROR"):
        at_work(handle, story)
    assert handled == 3
    assert "address-that-is-a-secret" not in caplog.text
