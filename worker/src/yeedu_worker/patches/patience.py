"""Sets how long a flow run waits for a server that is unreachable.

Prefect's client doubles its waits: with enough retries for an outage of half an hour, a flow run may notice
half an hour late that the outage is over. Here it asks every ten seconds, for an hour.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from yeedu_worker.patches import PATCHES
from yeedu_worker.patching import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# `PREFECT_CLIENT_MAX_RETRIES` of all flow runs. Without this patch, the doubling waits add up to 68 minutes.
RETRIES = 11
OUTAGE_SECONDS = 3600.0
MAX_PAUSE_SECONDS = 10.0
_SIGNATURE = "(self, request, send, send_args, send_kwargs, retry_codes=, retry_exceptions=)"
_ASYNCHRONOUS, _SYNCHRONOUS = (
    Place(f"prefect.client.base:{name}._send_with_retry", _SIGNATURE)
    for name in ("PrefectHttpxAsyncClient", "PrefectHttpxSyncClient")
)
_random = random.SystemRandom()  # a flow may seed the module's own


class Outage:
    """One call's outage: the time since it first got no answer."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._pause_seconds = 0.5

    def pause_seconds(self) -> float | None:
        """Return how long to wait before asking again, or None if the outage has lasted too long."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if now - self._began > OUTAGE_SECONDS:
            return None
        self._pause_seconds = min(2 * self._pause_seconds, MAX_PAUSE_SECONDS)
        return self._pause_seconds * _random.uniform(0.8, 1.2)


@PATCHES.declare(
    "patience",
    _ASYNCHRONOUS,
    _SYNCHRONOUS,
    *(
        Place(f"prefect.client.base:{name}.send", names=("_send_with_retry",))
        for name in ("PrefectHttpxAsyncClient", "PrefectHttpxSyncClient")
    ),
    purpose="a flow run asks a server that is away every ten seconds; by settings alone its waits double",
)
def wait_out_outages() -> None:
    """Have Prefect's clients retry as above, unless the settings allow fewer retries than `RETRIES`."""
    _ASYNCHRONOUS.replace(_patient(_ASYNCHRONOUS.find()))
    _SYNCHRONOUS.replace(_patient_in_thread(_SYNCHRONOUS.find()))


def _is_wanted() -> bool:
    from prefect.settings import get_current_settings

    return get_current_settings().client.max_retries >= RETRIES


def _patient(stock: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    import anyio

    async def send_with_retry(client: Any, *, send: Any, retry_exceptions: Any, **options: Any) -> Any:
        outage = Outage()

        async def ask(*arguments: Any, **settings: Any) -> Any:
            while True:
                try:
                    return await send(*arguments, **settings)
                except retry_exceptions:
                    pause_seconds = outage.pause_seconds()
                    if pause_seconds is None:
                        raise
                await anyio.sleep(pause_seconds)

        chosen = ask if _is_wanted() else send
        return await stock(client, send=chosen, retry_exceptions=retry_exceptions, **options)

    return send_with_retry


def _patient_in_thread(stock: Callable[..., Any]) -> Callable[..., Any]:
    def send_with_retry(client: Any, *, send: Any, retry_exceptions: Any, **options: Any) -> Any:
        outage = Outage()

        def ask(*arguments: Any, **settings: Any) -> Any:
            while True:
                try:
                    return send(*arguments, **settings)
                except retry_exceptions:
                    pause_seconds = outage.pause_seconds()
                    if pause_seconds is None:
                        raise
                time.sleep(pause_seconds)

        chosen = ask if _is_wanted() else send
        return stock(client, send=chosen, retry_exceptions=retry_exceptions, **options)

    return send_with_retry
