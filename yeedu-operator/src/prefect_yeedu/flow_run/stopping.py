"""Detects that nobody waits for a remote run any more, even if no signal arrives, and ends the wait."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import anyio
import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound, TerminationSignal

from prefect_yeedu.errors import YeeduStopRequested
from prefect_yeedu.flow_run.call_stack import kept_for_a_thread
from prefect_yeedu.flow_run.prefect_server import ask_prefect
from prefect_yeedu.retry_policy import ONCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from prefect.client.schemas.objects import State

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

# A cancelled flow run is killed 30 seconds later; noticing it takes so long, and stopping the run up to 20.
ASK_SECONDS = 5.0
# In the main thread a cancellation raises, so that only a deletion has to be polled for.
ASK_IN_MAIN_THREAD_SECONDS = 60.0
ASK_TIMEOUT_SECONDS = 20.0
# Prefect's: which flow run a process is for, and what happens to it when a pod's process gets SIGTERM.
PROCESS_FLOW_RUN, SIGTERM_BEHAVIOR = "PREFECT__FLOW_RUN_ID", "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"
# How often a wait checks for a stop, as on some systems a signal does not end it.
SLICE_SECONDS = 1.0
STOP_SECONDS = 30.0


class StopWatch:
    """Knows whether its call is still wanted.

    Cancelling a flow run raises in its main thread. A task in another thread does not notice, so there the
    flow run's state is polled every five seconds, in the background: neither an unreachable Prefect server
    nor its answers hold up the wait. An async caller that is cancelled sets the event.

    A task in a separate process outlives the flow run's process, whose next attempt runs it again.

    Args:
        event: Set when the call is not wanted any more, by the caller or by this object.
    """

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event = event or threading.Event()
        self._reason = "whoever waited for it was cancelled"
        self._flow_run_id = _flow_run_id()
        self._attempt = _detached_attempt()
        self._asked_at = time.monotonic()
        self._is_asking = threading.Lock()
        self._not_found = 0

    def stop_reason(self) -> str | None:
        """Return why the call is not wanted any more, or None while it is wanted."""
        if self._event.is_set():
            return self._reason
        if self._flow_run_id is not None:
            in_main_thread = threading.current_thread() is threading.main_thread()
            period = ASK_IN_MAIN_THREAD_SECONDS if in_main_thread else ASK_SECONDS
            if time.monotonic() - self._asked_at >= period and self._is_asking.acquire(blocking=False):
                self._asked_at = time.monotonic()
                ask = partial(copy_context().run, self._ask, self._flow_run_id, in_main_thread)
                threading.Thread(target=ask, daemon=True).start()
        return None

    def is_due_again(self, error: BaseException) -> bool:
        """Return whether an error ends the wait only for the flow run to go on in another process.

        It does in a pod that is evicted: Prefect has rescheduled the flow run before it ends the process, or
        was told to leave that to Kubernetes. It does not if the server gives no answer, nor in a task in a
        separate process, whose run the next attempt does not find.
        """
        is_signal = isinstance(error, TerminationSignal | YeeduStopRequested)
        if self._flow_run_id is None or self._attempt is not None or not is_signal:
            return False
        try:
            of_process = UUID(os.environ.get(PROCESS_FLOW_RUN) or str(self._flow_run_id))  # not a subflow
            ask = partial(SyncPrefectClient.read_flow_run, flow_run_id=of_process)
            state = ask_prefect(ask, "for this flow run", ONCE, answer_seconds=ASK_SECONDS).state
        except Exception as failure:  # noqa: BLE001 - whatever it is, nobody else may be left to stop the run
            logger.debug("The flow run's state could not be asked for: %r", failure)
            return False
        if state is None or state.is_cancelling():
            return False
        is_left = os.environ.get(SIGTERM_BEHAVIOR, "").lower() == "relinquish"
        return state.is_scheduled() or (is_left and state.is_running())

    def wait(self, seconds: float) -> None:
        """Wait this many seconds.

        Raises:
            YeeduStopRequested: The call is not wanted any more.
        """
        ends_at = time.monotonic() + seconds
        while True:
            reason = self.stop_reason()
            if reason is not None:
                raise YeeduStopRequested(f"The wait for Yeedu has ended, because {reason}.")
            left_seconds = ends_at - time.monotonic()
            if left_seconds <= 0:
                return
            self._event.wait(min(left_seconds, SLICE_SECONDS))

    def _ask(self, flow_run_id: UUID, in_main_thread: bool) -> None:
        """Ask Prefect once whether the flow run goes on; no answer means that it does."""
        try:
            # Own settings give a new client; the run's client belongs to the run's own thread.
            with get_client({"timeout": ASK_TIMEOUT_SECONDS}, sync_client=True) as client:
                flow_run = client.read_flow_run(flow_run_id)
        except ObjectNotFound as error:
            # A proxy may answer 404 as well, though hardly twice and in Prefect's own form.
            self._not_found = self._not_found + 1 if _is_from_prefect(error) else 0
            if self._not_found > 1:
                self._stop("the flow run was deleted")
        except Exception as error:  # noqa: BLE001 - whatever it is, the remote run goes on
            logger.debug("The flow run's state could not be asked for: %r", error)
        else:
            self._not_found = 0
            state = flow_run.state
            if not in_main_thread and state is not None and _is_unwanted(state):
                self._stop(f"the flow run is {state.name}")
            elif self._attempt is not None and flow_run.run_count > self._attempt:
                self._stop("the flow run goes on with another attempt")
        finally:
            self._is_asking.release()

    def _stop(self, reason: str) -> None:
        self._reason = reason
        self._event.set()


class StoppableClock:
    """The monotonic clock, whose waits end with an error once the call is not wanted any more.

    What remains to be done then, such as stopping the remote run, uses an ordinary clock.

    Args:
        watch: Knows whether the call is wanted.
    """

    def __init__(self, watch: StopWatch) -> None:
        self._watch = watch

    def now(self) -> float:
        """Return the seconds of a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait this many seconds.

        Raises:
            YeeduStopRequested: The call is not wanted any more.
        """
        self._watch.wait(seconds)


def _is_unwanted(state: State[Any]) -> bool:
    """Return whether what a flow run in this state has left to do is unwanted.

    A completed or failed flow run may have tasks that it did not wait for; Prefect lets them go on.
    """
    return state.is_cancelling() or state.is_cancelled() or state.is_crashed()


def _flow_run_id() -> UUID | None:
    """Return the id of the current flow run; a task's thread may know only its task run."""
    flow_context, task_context = FlowRunContext.get(), TaskRunContext.get()
    if flow_context is not None and flow_context.flow_run is not None:
        return flow_context.flow_run.id
    return task_context.task_run.flow_run_id if task_context is not None else None


def _detached_attempt() -> int | None:
    """Return the flow run's attempt that a task in a separate process belongs to; None elsewhere."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not context.detached:
        return None
    return context.flow_run.run_count


def _is_from_prefect(error: ObjectNotFound) -> bool:
    cause = error.http_exc
    if not isinstance(cause, httpx.HTTPStatusError):
        return False
    try:
        return "detail" in cause.response.json() or "exception_message" in cause.response.json()
    except ValueError:
        return False


async def run_in_thread(
    call: Callable[[threading.Event], Answer], event: threading.Event | None = None
) -> Answer:
    """Run a blocking call in a thread, without blocking the event loop.

    If the caller is cancelled, the event tells the call, which gets time to stop its remote run.

    Args:
        call: Receives the event.
        event: The event, if there is one already.
    """
    event = event or threading.Event()
    with kept_for_a_thread():
        running = asyncio.ensure_future(asyncio.to_thread(call, event))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        event.set()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({running}, timeout=STOP_SECONDS)
        if running.done() and not running.cancelled():
            running.exception()  # retrieved, so that asyncio does not report it as never retrieved
        raise
