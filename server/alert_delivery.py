"""Delivers alerts in the background, so that a slow webhook does not hold up other actions of automations.

Prefect handles actions two at a time, and one that calls a place which does not answer takes half a minute.
The undeliverable alerts of a hundred failed runs would hold up the start of deployments for as long as they
take. So each place has its own lane, of a few deliveries at a time.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from prefect.logging import get_logger
from prefect.server.utilities.messaging import Message, MessageHandler

KINDS = {"send-notification", "call-webhook"}
AT_ONCE = 2
MAX_WAITING = 1000  # for one place
_logger: logging.Logger = get_logger("server.alerts")


class Lanes:
    """Queues the deliveries to each place.

    Args:
        handle: Prefect's own handler of an action.
    """

    def __init__(self, handle: MessageHandler) -> None:
        self._handle = handle
        self._lanes: dict[str, asyncio.Semaphore] = {}
        self._under_way: dict[asyncio.Task[None], str] = {}

    async def take(self, message: Message) -> None:
        """Handle an action, or put it into its lane and return at once."""
        place = _place(message)
        if not place:
            await self._handle(message)
            return
        if sum(place == other for other in self._under_way.values()) >= MAX_WAITING:
            _logger.error("An alert was dropped: %d wait for the same block already", MAX_WAITING)
            return
        task = asyncio.create_task(self._deliver(place, message))
        self._under_way[task] = place
        task.add_done_callback(self._is_done)

    async def _deliver(self, place: str, message: Message) -> None:
        async with self._lanes.setdefault(place, asyncio.Semaphore(AT_ONCE)):
            try:
                await self._handle(message)
            except Exception as error:  # noqa: BLE001 - its text may have the address
                _logger.error("An alert was lost (%s)", type(error).__name__)  # noqa: TRY400 - likewise

    def _is_done(self, task: asyncio.Task[None]) -> None:
        place = self._under_way.pop(task)
        if place not in self._under_way.values():
            self._lanes.pop(place, None)

    async def close(self) -> None:
        """Cancel the deliveries under way."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


Consumer = Callable[[], AbstractAsyncContextManager[MessageHandler]]


def beside(consumer: Consumer) -> Consumer:
    """Return a consumer of actions that delivers alerts in lanes.

    Args:
        consumer: Prefect's own.
    """

    @asynccontextmanager
    async def consume() -> AsyncGenerator[MessageHandler, None]:
        async with consumer() as handle:
            lanes = Lanes(handle)
            try:
                yield lanes.take
            finally:
                await lanes.close()

    return consume


def _place(message: Message) -> str:
    """Return the block through which an alert is delivered; an empty string for any other action."""
    action: dict[str, Any] = json.loads(message.data)["action"] if message.data else {}
    return str(action["block_document_id"]) if action.get("type") in KINDS else ""
