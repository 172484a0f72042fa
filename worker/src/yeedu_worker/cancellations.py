"""Tells flow runs that they are to be cancelled, over one websocket for all of a worker's.

Prefect's process worker opens two for each flow run: one on which it hears of cancellations, and one on which
it would tell that it has obeyed.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.runner import _flow_run_executor
from prefect.runner._event_emitter import EventEmitter

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

logger = logging.getLogger("prefect.workers.cancellations")

_PAUSE_SECONDS = 5.0
_CLOSE_SECONDS = 2.0


class Cancellations:
    """Follows the server, and tells whoever watches over a flow run that it is being cancelled."""

    def __init__(self) -> None:
        self._watching: dict[UUID, Callable[[UUID], None]] = {}
        self._is_following = True  # until a failure says otherwise, once

    def replace_observers(self) -> None:
        """Have Prefect use this in place of an observer and an open event client for each flow run."""
        module: Any = _flow_run_executor
        module.FlowRunCancellingObserver = self._observer
        module.EventEmitter = _LateEventEmitter

    def _observer(self, on_cancelling: Callable[[UUID], None], **_: object) -> _Observer:
        return _Observer(self._watching, on_cancelling)

    async def follow(self) -> None:
        """Follow the server for ever. What it told while it could not be followed is asked for."""
        while True:
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - whatever happens here, flow runs go on
                if self._is_following:
                    logger.info("cancellations cannot be followed, and are asked for: %r", error)
                self._is_following = False
            with suppress(Exception):  # the server is away, and asked again
                await self._ask()
            await anyio.sleep(_PAUSE_SECONDS)

    async def _follow(self) -> None:
        cancelling = EventFilter(event=EventNameFilter(name=["prefect.flow-run.Cancelling"]))
        events = get_events_subscriber(filter=cancelling, reconnection_attempts=0)
        await events.__aenter__()
        try:
            self._is_following = True
            await self._ask()
            async for event in events:
                self._tell(UUID(event.resource.id.removeprefix("prefect.flow-run.")))
        finally:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):  # also when this task is cancelled
                await events.__aexit__(None, None, None)

    async def _ask(self) -> None:
        if not self._watching:
            return
        wanted = FlowRunFilter(
            id=FlowRunFilterId(any_=list(self._watching)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING])),
        )
        async with get_client() as client:
            for flow_run in await client.read_flow_runs(flow_run_filter=wanted):
                self._tell(flow_run.id)

    def _tell(self, flow_run_id: UUID) -> None:
        """Tell it once: a second signal would end a flow that is about to end its own work."""
        if on_cancelling := self._watching.pop(flow_run_id, None):
            on_cancelling(flow_run_id)


class _Observer:
    """What Prefect takes for a ``FlowRunCancellingObserver`` of its own."""

    def __init__(
        self, watching: dict[UUID, Callable[[UUID], None]], on_cancelling: Callable[[UUID], None]
    ) -> None:
        self._watching = watching
        self._on_cancelling = on_cancelling

    async def __aenter__(self) -> _Observer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def add_in_flight_flow_run_id(self, flow_run_id: UUID) -> None:
        """Begin to watch."""
        self._watching[flow_run_id] = self._on_cancelling

    def remove_in_flight_flow_run_id(self, flow_run_id: UUID) -> None:
        """Watch no more."""
        self._watching.pop(flow_run_id, None)


class _LateEventEmitter(EventEmitter):
    """Connects when there is something to emit, which is a cancellation."""

    async def __aenter__(self) -> _LateEventEmitter:
        return self

    async def emit_flow_run_cancelled(self, *arguments: Any, **named: Any) -> None:
        """Emit the event; see ``EventEmitter``."""
        if self._events_client is None:
            await super().__aenter__()
        await super().emit_flow_run_cancelled(*arguments, **named)
