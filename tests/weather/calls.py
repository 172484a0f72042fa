"""The ways in which flows call the operator; each tells what came of it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect import Flow, flow, task
from prefect.exceptions import TerminationSignal
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from operators.yeedu import YeeduOperator
from prefect_yeedu import YeeduError, YeeduResult
from prefect_yeedu.credentials import YeeduCredentials
from prefect_yeedu.tasks import run_yeedu_job, run_yeedu_notebook

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from uuid import UUID

PASSWORD_BLOCK = "weather-password"
# How long a run that nobody answered for is looked for by a later attempt; half an hour is too long here.
CLUSTER_SECONDS = 300.0


@dataclass(frozen=True)
class Work:
    """What to call the operator with.

    Attributes:
        kind: `job` or `notebook`.
        url: Its address.
        blocks: The variable that holds the connection details, or the credentials block of a ready-made task.
        generation: The API generation, or None where that is to be found out.
        timeout_seconds: The operator's.
        cluster_ids: Further clusters.
    """

    kind: str
    url: str
    blocks: str
    generation: str | None
    timeout_seconds: float | None
    cluster_ids: list[int]

    def operator(self) -> YeeduOperator:
        return YeeduOperator(
            self.url,
            self.blocks,
            PASSWORD_BLOCK,
            generation=self.generation,
            timeout_seconds=self.timeout_seconds,
            cluster_ids=self.cluster_ids,
            cluster_seconds=CLUSTER_SECONDS,
        )


@dataclass(frozen=True)
class Outcome:
    """What came of one call.

    Attributes:
        name: `result`, or the exception's class.
        is_allowed: Whether callers may meet it: a result, an error of ours, or their own cancellation.
        run_id: The run, where the outcome names one.
        text: What was printed, or the exception's text.
        is_cut: Whether the result says that something of that is missing.
    """

    name: str
    is_allowed: bool = True
    run_id: int | None = None
    text: str = ""
    is_cut: bool = False

    @classmethod
    def of_result(cls, result: YeeduResult) -> Outcome:
        text = result.stdout + "".join(output.text for output in result.outputs)
        return cls("result", run_id=result.run_id, text=text, is_cut=bool(result.truncated))

    @classmethod
    def of_error(cls, error: BaseException) -> Outcome:
        is_allowed = isinstance(error, YeeduError | asyncio.CancelledError | TerminationSignal)
        run_id = getattr(error, "run_id", None)
        return cls(type(error).__name__, is_allowed, run_id, str(error)[:300])


@dataclass
class Notes:
    """Where calls tell what came of them.

    Attributes:
        tell: Takes each outcome.
        cancel: Cancels the call that an event loop is waiting for, once there is one.
    """

    tell: Callable[[Outcome], None]
    cancel: Callable[[], None] = field(default=lambda: None)


def told(notes: Notes, call: Callable[[], YeeduResult]) -> None:
    """Make a call and tell its outcome, whatever that is."""
    try:
        result = call()
    except BaseException as error:
        notes.tell(Outcome.of_error(error))
        raise
    notes.tell(Outcome.of_result(result))


@flow(name="weather", validate_parameters=False)
def in_flow(work: Work, notes: Notes) -> None:
    told(notes, work.operator().execute)


@flow(name="weather", validate_parameters=False)
async def in_async_flow(work: Work, notes: Notes) -> None:
    call = asyncio.ensure_future(work.operator().aexecute())
    loop = asyncio.get_running_loop()
    notes.cancel = lambda: _quietly(loop, call.cancel)
    try:
        result = await call
    except BaseException as error:
        notes.tell(Outcome.of_error(error))
        raise
    notes.tell(Outcome.of_result(result))


def _quietly(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


@task
def in_task(work: Work, notes: Notes) -> None:
    told(notes, work.operator().execute)


@flow(name="weather", validate_parameters=False)
def in_flow_with_task(work: Work, notes: Notes) -> None:
    in_task.submit(work, notes).result()


@flow(name="weather", validate_parameters=False)
def in_flow_with_ready_task(work: Work, notes: Notes) -> None:
    credentials = YeeduCredentials.load(work.blocks)
    ready: Any = run_yeedu_job if work.kind == "job" else run_yeedu_notebook
    running = ready.submit(
        work.url,
        credentials,
        timeout_seconds=work.timeout_seconds,
        cluster_ids=work.cluster_ids,
        cluster_seconds=CLUSTER_SECONDS,
    )
    told(notes, running.result)


FLOWS: dict[str, Flow[..., Any]] = {
    "sync": in_flow,
    "async": in_async_flow,
    "task": in_flow_with_task,
    "ready": in_flow_with_ready_task,
    "process": in_flow,
}


def settings_of_a_client(api_url: str) -> dict[Any, Any]:
    """Return the settings of a process that calls the operator, without requests that show nothing here."""
    # Each new client would ask for a token that this server does not want.
    return {
        PREFECT_API_URL: api_url,
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
    }


def run_attempt(way: str, work: Work, notes: Notes, flow_run_id: UUID, retries: int) -> None:
    """Run a flow run once, with the retries that Prefect makes by itself."""
    from prefect.context import SyncClientContext
    from prefect.flow_engine import run_flow

    with SyncClientContext.get_or_create() as prefect:
        flow_run = prefect.client.read_flow_run(flow_run_id)
    chosen = FLOWS[way].with_options(retries=retries)  # as the flow run was created with
    running: Any = run_flow(
        chosen, flow_run=flow_run, parameters={"work": work, "notes": notes}, return_type="state"
    )
    if asyncio.iscoroutine(running):
        asyncio.run(running)


def run_in_process(
    pipe: Connection, api_url: str, work: Work, flow_run_id: UUID, retries: int
) -> None:  # pragma: no cover - in a process of its own
    """Do the same in the main thread of this process, and send each outcome through a pipe."""
    from tests.weather.fast_time import hurry

    logging.disable()
    with hurry(), temporary_settings(settings_of_a_client(api_url)):
        run_attempt("process", work, Notes(pipe.send), flow_run_id, retries)
