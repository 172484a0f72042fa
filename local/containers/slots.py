"""Guards a change between one server and several, which forgets who holds a slot of a concurrency limit."""

from typing import Any

from local.api import ApiUnavailableError, PrefectApi
from local.console import Console
from local.errors import CommandError


def taken(api: PrefectApi) -> list[dict[str, Any]]:
    """Return the limits of which a slot is taken, except those whose slots decay over time.

    Raises:
        ApiUnavailableError: The server does not answer.
        CommandError: It rejects the login.
    """
    limits = api.everything("/v2/concurrency_limits/filter")
    return [one for one in limits if one["active_slots"] and not one["slot_decay_per_second"]]


def check_slots(api: PrefectApi, console: Console, *, insists: bool) -> None:
    """Refuse to change from one server to several, or back, while a slot is taken.

    Args:
        api: The running server; if it does not answer, nothing is refused.
        console: Where freed slots are reported.
        insists: Whether to free taken slots, whatever happens to their holders.

    Raises:
        CommandError: Slots are taken, and the message names the limits; or the server rejects the login.
    """
    try:
        limits = taken(api)
    except ApiUnavailableError:
        return
    names = ", ".join(sorted(one["name"] for one in limits))
    if limits and not insists:
        raise CommandError(
            f"slots are taken of {names}; between one server and several a flow run loses its slot, and may "
            "crash for it: wait until it has ended, or say YES=1 to free the slots"
        )
    for one in limits:
        api.patch(f"/v2/concurrency_limits/{one['id']}", {"active_slots": 0})
    if limits:
        console.step(f"slots        of {names} are free, whoever has them")
