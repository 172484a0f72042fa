"""Reports failed alert deliveries without their address: the URL of a webhook is a secret.

Prefect logs a webhook's failure as an exception of the HTTP client, whose text may have the address, and
emits no event. Here a delivery is tried twice more, and its failure becomes an event that the UI shows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
from prefect.server.events.actions import ActionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from prefect.server.events.actions import SendNotification
    from prefect.server.events.schemas.automations import TriggeredAction

_PAUSES_SECONDS = (1.0, 4.0)


def delivering(send: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Return a version of `send` whose failures do not tell the address.

    Args:
        send: Prefect's own.
    """

    async def act(self: SendNotification, triggered_action: TriggeredAction) -> None:
        """Send a notification; see ``SendNotification``."""
        await _deliver(lambda: send(self, triggered_action))

    return act


async def _deliver(send: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Send a notification; retry failures that may be temporary.

    Raises:
        ActionFailed: It could not be delivered.
    """
    for pause_seconds in (*_PAUSES_SECONDS, None):
        try:
            return await send()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            reason, may_pass = f"its target answered with status {status}", status >= 500
        except ActionFailed:
            raise
        except Exception as error:  # noqa: BLE001 - from whichever client sends this kind of notification
            reason, may_pass = f"its target cannot be reached ({type(error).__name__})", True
        if pause_seconds is None or not may_pass:
            # Outside the handler, since a chained exception would be logged with its text.
            raise ActionFailed(f"The notification was not delivered: {reason}.")
        await asyncio.sleep(pause_seconds)
    return None
