"""Calls the Prefect server: the only place where such a call is retried, and its failures classified."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from prefect_yeedu.errors import YeeduPrefectError, YeeduPrefectUnavailable
from prefect_yeedu.retry_policy import RetryPolicy, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from prefect.client.schemas.filters import ArtifactFilter
    from prefect.client.schemas.objects import Artifact, FlowRun

    from prefect_yeedu.retry_policy import Clock

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

# What a call of the Prefect server can raise: a ValueError if something other than the server answers, a
# RuntimeError if its client cannot start.
FAILURES = (
    httpx.HTTPError,
    httpx.InvalidURL,
    PrefectHTTPStatusError,
    ObjectNotFound,
    ObjectAlreadyExists,
    ValueError,
    RuntimeError,
)
PAGE = 200  # the most that the server returns at once
_TRANSIENT_STATUSES = frozenset({408, 429})


def retry_within(seconds: float) -> RetryPolicy:
    """Return the retry policy for a server that may be down for that many seconds."""
    return RetryPolicy(attempts=None, budget_seconds=seconds, first_wait_seconds=0.5, max_wait_seconds=5.0)


def ask_prefect(
    call: Callable[[SyncPrefectClient], Answer],
    what: str,
    retries: RetryPolicy,
    *,
    answer_seconds: float | None = None,
    clock: Clock | None = None,
) -> Answer:
    """Call the Prefect server, retrying while it is unreachable.

    Args:
        call: Makes the call with a client that does not retry by itself.
        what: What is asked, such as `about flow run 7`, for messages.
        retries: The retry policy.
        answer_seconds: Time limit of each answer, instead of the client's own.
        clock: The clock for the waits between calls; None for the machine's.

    Raises:
        YeeduPrefectUnavailable: It stayed unreachable.
        YeeduPrefectError: It refused the call, or does not know what was asked for.
    """
    clock = clock or SystemClock()
    trial = retries.start(clock)
    settings = {"timeout": answer_seconds} if answer_seconds is not None else None
    while True:
        try:
            with _without_retries(), get_client(sync_client=True, httpx_settings=settings) as client:
                return call(client)
        except FAILURES as error:
            failure = name_failure(error, what)
        wait_seconds = trial.fail(failure)
        if wait_seconds is None:
            raise failure
        logger.info("Asking the Prefect server %s again in %.1f s: %s", what, wait_seconds, failure)
        clock.sleep(wait_seconds)


def name_failure(error: Exception, what: str) -> YeeduPrefectError:
    """Return this package's error for a failed call of the Prefect server.

    Args:
        error: One of `FAILURES`.
        what: What was asked, such as `about flow run 7`.
    """
    match error:
        case ObjectNotFound() | httpx.HTTPStatusError(response=httpx.Response(status_code=404)):
            return YeeduPrefectError(
                f"The Prefect server does not know what it was asked {what} (any more); it was deleted."
            )
        case ObjectAlreadyExists():
            return YeeduPrefectError(f"The Prefect server has already what it was asked {what}.")
        case httpx.HTTPStatusError() if not _is_transient(error.response.status_code):
            return YeeduPrefectError(
                f"The Prefect server answered {error.response.status_code} when asked {what}; "
                "check PREFECT_API_URL and PREFECT_API_AUTH_STRING."
            )
        case RuntimeError() if not isinstance(error, httpx.HTTPError):
            return YeeduPrefectError(
                f"The client of the Prefect server could not start when it was to ask {what}; "
                "check PREFECT_API_URL and that the server is up."
            )
        case httpx.HTTPStatusError():
            reason = f"it answered {error.response.status_code}"
        case _:
            reason = type(error).__name__
    return YeeduPrefectUnavailable(
        f"The Prefect server could not be asked {what} ({reason}); "
        "check PREFECT_API_URL and that the server is up."
    )


def iterate_artifacts(
    client: SyncPrefectClient, wanted: ArtifactFilter, flow_runs: FlowRunFilter | None = None
) -> Iterator[Artifact]:
    """Yield artifacts, the newest first.

    Args:
        client: Reads them.
        wanted: Which ones.
        flow_runs: Of which flow runs; None for those of any flow run or none.
    """
    return _each(
        lambda offset: client.read_artifacts(
            artifact_filter=wanted,
            flow_run_filter=flow_runs,
            sort=ArtifactSort.CREATED_DESC,
            limit=PAGE,
            offset=offset,
        )
    )


def iterate_subflows(client: SyncPrefectClient, parents: Sequence[UUID]) -> Iterator[FlowRun]:
    """Yield the subflows that flow runs have started themselves."""
    if not parents:
        return iter(())
    parent = FlowRunFilterParentFlowRunId(any_=list(parents))
    return iterate_flow_runs(client, FlowRunFilter(parent_flow_run_id=parent))


def iterate_flow_runs(client: SyncPrefectClient, wanted: FlowRunFilter) -> Iterator[FlowRun]:
    """Yield flow runs, with one query for each page of them."""
    return _each(
        lambda offset: client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=offset
        )
    )


def _each(read_page: Callable[[int], list[Answer]]) -> Iterator[Answer]:
    """Yield the items of the pages that begin at each offset, up to the first page that is not full."""
    offset = 0
    while page := read_page(offset):
        yield from page
        offset += PAGE
        if len(page) < PAGE:
            return


def _without_retries() -> SettingsContext:
    """Return settings without a client's retries; copied, as validating all of them takes 20 ms."""
    context = get_settings_context()
    client = context.settings.client.model_copy(update={"max_retries": 0})
    return SettingsContext(
        profile=context.profile, settings=context.settings.model_copy(update={"client": client})
    )


def _is_transient(status: int) -> bool:
    return status >= 500 or status in _TRANSIENT_STATUSES
