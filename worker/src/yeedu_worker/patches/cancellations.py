"""Tells flow runs that they are being cancelled, over one websocket for all flow runs of a worker.

Prefect's process worker opens two for each flow run: one to hear of cancellations, and one to report that it
has carried them out.
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

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

logger = logging.getLogger("prefect.workers.cancellations")

_PAUSE_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_OBSERVER = Place(
    "prefect.runner._flow_run_executor:FlowRunCancellingObserver",
    "(on_cancelling, polling_interval=, event_filter=, on_failure=)",
)
_EMITTER = Place(
    "prefect.runner._flow_run_executor:EventEmitter",
    "(*, runner_name, client, get_events_client=, cache_ttl=)",
)


class Cancellations:
    """Follows the server's events, and tells a flow run's observer that the run is being cancelled."""

    def __init__(self) -> None:
        self._watching: dict[UUID, Callable[[UUID], None]] = {}
        self._is_following = True  # until a failure says otherwise, once

    def replace_observers(self) -> bool:
        """Have Prefect use this instead of an observer and an open event client for each flow run.

        Returns:
            Whether it does; if not, `follow` has nothing to do.
        """
        return _replace(self._observer)

    def _observer(self, on_cancelling: Callable[[UUID], None], **_: object) -> _Observer:
        """Return what Prefect takes for its observer of one flow run."""
        return _Observer(self._watching, on_cancelling)

    async def follow(self) -> None:
        """Follow the server's events for ever; ask for what was missed while they could not be followed."""
        while True:
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 - whatever fails here, flow runs go on
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
        """Tell a flow run's observer once: a second signal would end a flow that is still cleaning up.

        If that raises, the cancellation has not begun: the others are still told, and this one again when the
        server is next asked.
        """
        if on_cancelling := self._watching.pop(flow_run_id, None):
            try:
                on_cancelling(flow_run_id)
            except Exception as error:  # noqa: BLE001 - whatever Prefect's own code raises there
                self._watching[flow_run_id] = on_cancelling
                logger.warning("flow run %s cannot be told of its cancellation: %r", flow_run_id, error)


class _Observer:
    """What Prefect takes for its own ``FlowRunCancellingObserver``."""

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
        """Stop watching, even if Prefect was cancelled before it could remove its flow run."""
        for flow_run_id, on_cancelling in list(self._watching.items()):
            if on_cancelling is self._on_cancelling:
                del self._watching[flow_run_id]

    def add_in_flight_flow_run_id(self, flow_run_id: UUID) -> None:
        """Start watching a flow run."""
        self._watching[flow_run_id] = self._on_cancelling

    def remove_in_flight_flow_run_id(self, flow_run_id: UUID) -> None:
        """Stop watching a flow run."""
        self._watching.pop(flow_run_id, None)


def _late(emitter: Any) -> type[Any]:
    """Return a class of emitter that connects only when it has a cancellation to emit."""

    class LateEventEmitter(emitter):
        async def __aenter__(self) -> LateEventEmitter:
            return self

        async def emit_flow_run_cancelled(self, *arguments: Any, **named: Any) -> None:
            """Emit the event; see ``EventEmitter``."""
            if self._events_client is None:
                await emitter.__aenter__(self)
            await emitter.emit_flow_run_cancelled(self, *arguments, **named)

    return LateEventEmitter


@PATCHES.declare(
    "cancellations",
    _OBSERVER,
    Place(f"{_OBSERVER.path}.add_in_flight_flow_run_id", "(self, flow_run_id)"),
    Place(f"{_OBSERVER.path}.remove_in_flight_flow_run_id", "(self, flow_run_id)"),
    _EMITTER,
    Place(f"{_EMITTER.path}.__init__", names=("_events_client",)),
    Place(f"{_EMITTER.path}.emit_flow_run_cancelled", "(self, flow_run, flow, deployment)"),
    Place(
        "prefect.runner._flow_run_executor:FlowRunExecutorContext.__aenter__",
        names=("FlowRunCancellingObserver", "EventEmitter"),
    ),
    purpose="one websocket tells of cancellations for all flow runs, instead of two for each",
)
def _replace(observer: Callable[..., Any]) -> None:
    _EMITTER.replace(_late(_EMITTER.find()))
    _OBSERVER.replace(observer)
