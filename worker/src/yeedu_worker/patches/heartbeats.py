"""Sends a flow run's heartbeats, at no cost to short runs.

Prefect sends the first when the flow begins, for which it opens a websocket and reads the flow, the
deployment, the work queue and the work pool: with a slow server, the run may be taken for dead before all
that is read. And it checks only once a second whether to stop, for which a flow waits at its end. Here each
heartbeat is one request to the server, which waits for none of the run's other events. A server that takes no
events over HTTP gets them as Prefect sends them.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

if TYPE_CHECKING:
    from collections.abc import Generator

logger = logging.getLogger("prefect.flow_engine")

# Until the first; a shorter run needs none, since `RESCUE_HEARTBEAT_SECONDS` is longer.
FIRST_SECONDS = 5.0
# After one that the server did not take. Two more may be lost before the run is taken for dead.
AGAIN_SECONDS = 10.0
NOT_THERE = frozenset({404, 405})
_SEND = Place("prefect.flow_engine:_send_heartbeats", "(engine, join_on_exit=)")


def _engine(name: str, signature: str = "", *names: str) -> Place:
    return Place(f"prefect.flow_engine:{name}", signature, names)


@PATCHES.declare(
    "heartbeats",
    _SEND,
    _engine("FlowRunEngine.run_context", "(self)", "_send_heartbeats"),
    _engine("AsyncFlowRunEngine.run_context", "(self)", "_send_heartbeats"),
    _engine("BaseFlowRunEngine._build_heartbeat_event_template", "(self)"),
    _engine("BaseFlowRunEngine._emit_flow_run_heartbeat", "(self, resource=, related=)"),
    _engine("BaseFlowRunEngine.heartbeat_seconds"),
    _engine("MINIMUM_HEARTBEAT_INTERVAL"),
    purpose="a short flow run sends none, and a long one waits for none; settings choose the interval alone",
)
def replace_heartbeats() -> None:
    """Have Prefect's flow engine use `send_heartbeats`."""
    _SEND.replace(send_heartbeats)


@contextmanager
def send_heartbeats(engine: Any, *, join_on_exit: bool = True) -> Generator[None]:
    """Send heartbeats as often as the settings say, until the block or the flow run ends.

    Args:
        engine: Prefect's engine of the flow run.
        join_on_exit: Whether to wait for the thread that sends them.
    """
    from prefect.flow_engine import MINIMUM_HEARTBEAT_INTERVAL

    if engine.heartbeat_seconds is None:
        yield
        return
    interval_seconds = max(engine.heartbeat_seconds, MINIMUM_HEARTBEAT_INTERVAL)
    resource, related = engine._build_heartbeat_event_template()
    is_over = threading.Event()

    def send() -> None:
        if is_over.wait(FIRST_SECONDS):
            return
        import httpx
        from prefect.client.orchestration import get_client
        from prefect.events import Event
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),  # in this thread: its pauses only grow
            # A setting of its own keeps Prefect from handing out the flow's client, which may be busy.
            get_client(httpx_settings={"timeout": interval_seconds}, sync_client=True) as client,
        ):
            takes_requests = True
            while not (engine.flow_run and engine.flow_run.state and engine.flow_run.state.is_final()):
                beat = Event(event="prefect.flow-run.heartbeat", resource=resource, related=related)
                pause_seconds = interval_seconds
                try:
                    if takes_requests:
                        client.request("POST", "/events", json=[beat.model_dump(mode="json")])
                    else:
                        engine._emit_flow_run_heartbeat(resource, related)
                except Exception as error:  # the next may come through
                    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in NOT_THERE:
                        takes_requests = False
                        continue
                    logger.debug("a heartbeat could not be sent", exc_info=True)
                    pause_seconds = min(pause_seconds, AGAIN_SECONDS)
                if is_over.wait(pause_seconds):
                    return

    thread = threading.Thread(target=contextvars.copy_context().run, args=(send,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        if join_on_exit:
            thread.join(timeout=2)
