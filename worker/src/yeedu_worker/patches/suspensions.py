"""Watches whether a flow run is suspended from outside, at no cost to short runs.

Prefect starts watching when the flow begins. For that it starts an event loop in a thread, with its own
client, opens a websocket and reads the flow run; and each flow waits at its end, up to 0.2 s, until that
thread checks whether to stop. Here watching begins after a while, with a check of the run's states so far: a
flow run that was suspended and resumed meanwhile has another process somewhere.
"""

from __future__ import annotations

import contextvars
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from uuid import UUID

    from prefect.client.schemas.objects import State

FIRST_SECONDS = 5.0
_SET_UP = Place(
    "prefect.flow_engine:BaseFlowRunEngine.setup_flow_run_suspension_request",
    "(self)",
    ("observe_flow_run_suspension", "flow_run"),
)
_OBSERVE = Place(
    "prefect.flow_engine:observe_flow_run_suspension",
    "(flow_run_id, suspension_request, polling_interval=)",
    ("FlowRunSuspendingObserver", "watch_flow_run_id", "ready_event"),
)
_IS_SUSPENDED = Place("prefect._flow_run_suspension:is_suspended_flow_run_state", "(state)")
_began_as: contextvars.ContextVar[State | None] = contextvars.ContextVar("began_as", default=None)


@PATCHES.declare(
    "suspensions",
    _SET_UP,
    _OBSERVE,
    _IS_SUSPENDED,
    Place("prefect._flow_run_suspension:FlowRunSuspensionRequest.mark_requested", "(self, state)"),
    purpose="a short flow run opens no websocket to hear of a suspension; no setting does that",
)
def observe_suspensions_later() -> None:
    """Have Prefect's flow engine observe suspensions from `FIRST_SECONDS` on."""
    _SET_UP.replace(_noting(_SET_UP.find()))
    _OBSERVE.replace(_late(_OBSERVE.find()))


def _noting(set_up: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @contextmanager
    def setup_flow_run_suspension_request(engine: Any) -> Generator[Any]:
        token = _began_as.set(engine.flow_run and engine.flow_run.state)
        try:
            with set_up(engine) as request:
                yield request
        finally:
            _began_as.reset(token)

    return setup_flow_run_suspension_request


def _late(observe: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    def observe_flow_run_suspension(
        flow_run_id: UUID, suspension_request: Any, **options: Any
    ) -> Generator[None]:
        is_over = threading.Event()

        def wait_and_observe() -> None:
            if not is_over.wait(FIRST_SECONDS):
                with observe(flow_run_id, suspension_request, **options):
                    for state in _suspended_since(flow_run_id):
                        suspension_request.mark_requested(state)
                    is_over.wait()

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(wait_and_observe,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join(timeout=2)

    return observe_flow_run_suspension


def _suspended_since(flow_run_id: UUID) -> list[State]:
    """Return the *Suspended* states that the flow run has had since it began here."""
    from prefect.client.orchestration import get_client

    began_as = _began_as.get()
    if began_as is None:
        return []
    # A setting of its own keeps Prefect from handing out the flow's client, which may be busy.
    with get_client(httpx_settings={"timeout": 60}, sync_client=True) as client:
        states = client.read_flow_run_states(flow_run_id)
    is_suspended = _IS_SUSPENDED.find()
    return [state for state in states if is_suspended(state) and state.timestamp > began_as.timestamp]
