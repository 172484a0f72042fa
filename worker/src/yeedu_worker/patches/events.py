"""Sends a flow run's events in batches, by HTTP requests instead of websockets for each run.

A flow run emits events about its pull steps, task runs and artifacts. For these, Prefect asks for the
server's version, opens two websockets, and sends one event after the other. The server also accepts a list;
one that does not gets the events as Prefect sends them.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from yeedu_worker.patches import PATCHES
from yeedu_worker.patches.heartbeats import NOT_THERE
from yeedu_worker.patching import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.events import Event
    from prefect.events.clients import EventsClient

logger = logging.getLogger("prefect.events.clients")

# How long an event waits for others; task runs are recorded, and automations act, that much later.
PAUSE_SECONDS = 0.2
MOST_AT_ONCE = 200
_OF_WORKER, _OF_UTILITIES = (
    Place(f"prefect.events.{module}:PrefectEventsClient") for module in ("worker", "utilities")
)
_OF_PULL_STEPS = Place(
    "prefect.deployments.steps.core:get_events_client",
    "(reconnection_attempts=, checkpoint_every=, checkpoint_interval=)",
)
_CLIENT = "prefect.events.clients:EventsClient"


@PATCHES.declare(
    "events by request",
    _OF_WORKER,
    _OF_UTILITIES,
    _OF_PULL_STEPS,
    Place("prefect.events.worker:EventsWorker.instance", "(client_type=)", ("PrefectEventsClient",)),
    Place("prefect.events.utilities:emit_event", names=("PrefectEventsClient", "client_type")),
    Place("prefect.deployments.steps.core:_emit_pull_step_event", names=("get_events_client", "emit")),
    Place(f"{_CLIENT}.emit", "(self, event)", ("_emit",)),
    Place(f"{_CLIENT}.__aenter__", "(self)"),
    Place(f"{_CLIENT}.__aexit__", "(self, exc_type, exc_val, exc_tb)"),
    purpose="a flow run opens no websocket for its events; no setting chooses how they are sent",
)
def send_events_by_request() -> None:
    """Have this process and its forks send events by request, except to Prefect Cloud."""
    from prefect.events.clients import EventsClient
    from prefect.events.worker import emit_events_to_cloud

    stock, choose = _OF_WORKER.find(), _OF_PULL_STEPS.find()

    class RequestEventsClient(_Sending, EventsClient):
        """The client that Prefect enters, gives its events, and exits."""

        def __init__(self) -> None:
            super().__init__(stock)

        @override
        async def __aenter__(self) -> RequestEventsClient:
            await self.open()
            return await super().__aenter__()

        @override
        async def __aexit__(self, *error: Any) -> None:
            await self.close()
            await super().__aexit__(*error)

        @override
        async def _emit(self, event: Event) -> None:
            await self.take(event)

    def get_events_client(**options: Any) -> EventsClient:
        return choose(**options) if emit_events_to_cloud() else RequestEventsClient()

    _OF_WORKER.replace(RequestEventsClient)
    _OF_UTILITIES.replace(RequestEventsClient)
    _OF_PULL_STEPS.replace(get_events_client)


class _Sending:
    """Sends events to the server in batches.

    Args:
        stock: Returns a client that sends them as Prefect does.
    """

    def __init__(self, stock: Callable[[], EventsClient]) -> None:
        self._stock = stock
        self._other: EventsClient | None = None
        self._stack = AsyncExitStack()
        self._waiting: list[Event] = []
        self._is_sending = asyncio.Lock()
        self._sender: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open the client; it retries as long as for everything else that a flow run asks of the server."""
        from prefect.client.orchestration import get_client

        self._client: Any = await self._stack.enter_async_context(get_client())

    async def close(self) -> None:
        """Send what is left, wait until the server has it, and close the client."""
        if self._sender:
            self._sender.cancel()
        await self._send_all()
        await self._stack.aclose()

    async def take(self, event: Event) -> None:
        """Send an event soon; with a full batch, wait until it is sent."""
        self._waiting.append(event)
        if len(self._waiting) >= MOST_AT_ONCE:
            await self._send_all()
        elif self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_soon())

    async def _send_soon(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        await asyncio.shield(self._send_all())

    async def _send_all(self) -> None:
        async with self._is_sending:
            while events := self._waiting[:MOST_AT_ONCE]:
                del self._waiting[: len(events)]
                await self._send(events)

    async def _send(self, events: list[Event]) -> None:
        import httpx

        if self._other:
            for event in events:
                await self._other.emit(event)
            return
        body = ",".join(event.model_dump_json() for event in events)
        try:
            await self._client.request(
                "POST", "/events", content=f"[{body}]", headers={"Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
            if status in NOT_THERE:
                self._other = await self._stack.enter_async_context(self._stock())
                await self._send(events)
            elif 400 <= status < 500 and len(events) > 1:  # because of one of them
                for event in events:
                    await self._send([event])
            else:
                logger.warning("%d events could not be sent: %r", len(events), error)
