"""Notice that nobody waits for a remote run any more, also where no signal arrives."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import anyio
import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

# A cancelled flow run is killed 30 seconds later, so the remote run has to be stopped well before.
ASK_SECONDS = 5.0
STOP_SECONDS = 60.0


class StopWatch:
    """Knows whether the call that it is made for is still wanted.

    Cancelling a flow run raises in its main thread. A task in another thread hears nothing of it, so there
    the flow run's state is asked for now and then; an async caller that is cancelled sets the event.

    Args:
        event: Set when the caller is cancelled.
    """

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event = event
        context = FlowRunContext.get()
        flow_run = context.flow_run if context is not None else None
        self._flow_run_id: UUID | None = flow_run.id if flow_run is not None else None
        self._ask_at = time.monotonic() + ASK_SECONDS

    def stop_reason(self) -> str | None:
        """Return why the call is not wanted any more, or None while it is."""
        if self._event is not None and self._event.is_set():
            return "whoever waited for it was cancelled"
        if self._flow_run_id is None or threading.current_thread() is threading.main_thread():
            return None
        if time.monotonic() < self._ask_at:
            return None
        self._ask_at = time.monotonic() + ASK_SECONDS
        return self._ask(self._flow_run_id)

    def _ask(self, flow_run_id: UUID) -> str | None:
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(flow_run_id).state
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            logger.debug("The flow run's state is not to be had now: %r", error)
            return None
        if state is not None and (state.is_cancelling() or state.is_final()):
            return f"the flow run is {state.name}"
        return None


async def run_in_thread(
    call: Callable[[threading.Event], Answer], event: threading.Event | None = None
) -> Answer:
    """Run a blocking call in a thread of its own without blocking the event loop.

    When the caller is cancelled the call is told so by the event, and is given time to stop its remote run.

    Args:
        call: Receives the event.
        event: The event, where there is one already.
    """
    event = event or threading.Event()
    running = asyncio.ensure_future(asyncio.to_thread(call, event))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        event.set()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({running}, timeout=STOP_SECONDS)
        if running.done() and not running.cancelled():
            running.exception()  # looked at, so that asyncio does not report it as forgotten
        raise
