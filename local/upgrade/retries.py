"""Requests to the server with retries, since an upgrade restarts it."""

import time
from collections.abc import Callable
from typing import Any

from local.api import ApiUnavailableError, PrefectApi
from local.errors import CommandError

_API_SECONDS = 90.0
_GONE = 404


class GoneError(CommandError):
    """What was asked for has been deleted."""


def post(api: PrefectApi, path: str, body: dict[str, Any]) -> Any:
    """Return the server's answer to a POST; raise as `with_retries` does."""
    return with_retries(lambda: api.post(path, body))


def everything(api: PrefectApi, path: str) -> list[dict[str, Any]]:
    """Return all that a filter finds; raise as `with_retries` does."""
    return with_retries(lambda: api.everything(path))


def with_retries(ask: Callable[[], Any]) -> Any:
    """Retry a request until there is an answer: a server that has just started, or is busy, may be slow.

    Raises:
        GoneError: There is no such thing.
        CommandError: There is no answer within 90 seconds.
    """
    deadline = time.monotonic() + _API_SECONDS
    while True:
        try:
            return ask()
        except ApiUnavailableError as error:
            if error.status == _GONE:
                raise GoneError(str(error)) from None
            if time.monotonic() > deadline:
                raise CommandError(f"the server does not answer: {error}") from None
            time.sleep(0.5)
