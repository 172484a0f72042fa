"""Call the Prefect server, which may be away for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

FAILURES = (httpx.HTTPError, PrefectHTTPStatusError)


def patiently(call: Callable[[SyncPrefectClient], Answer], seconds: float) -> Answer:
    """Call the Prefect server, again and again while it is away; then the last failure is raised.

    Args:
        call: Receives a client.
        seconds: How long it may be away.

    Raises:
        httpx.HTTPError: It stayed away.
        PrefectHTTPStatusError: It refused the call.
    """
    deadline = time.monotonic() + seconds
    wait_seconds = 0.5
    while True:
        try:
            with get_client(sync_client=True) as client:
                return call(client)
        except FAILURES as error:
            if _is_final(error) or time.monotonic() + wait_seconds > deadline:
                raise
        time.sleep(wait_seconds)
        wait_seconds = min(2 * wait_seconds, 5.0)


def _is_final(error: Exception) -> bool:
    """Tell whether the server's answer will be the same next time."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
