"""Classifies failed calls: transient, gone, refused or expired.

From that, `retry_policy` and `runs.wait_options` decide whether and how long a call is repeated.
"""

from __future__ import annotations

from enum import StrEnum

from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduConfigurationError,
    YeeduError,
    YeeduNotFound,
    YeeduRateLimited,
    YeeduServerError,
    YeeduTransportError,
)

EXPIRED_STATUSES = frozenset({401, 440})
EXPIRED_CODE = "RFA-000001"
# Statuses of a proxy that gave up waiting; the server behind it may still be working on the request.
GATEWAY_TIMEOUTS = frozenset({408, 499, 504, 524})


class Failure(StrEnum):
    """What a failed call shows.

    Attributes:
        TRANSIENT: Nothing about the requested object: there was no answer, a proxy answered, or Yeedu is in
            trouble. The same request may succeed later.
        GONE: Yeedu itself says that there is no such object.
        REFUSED: Yeedu itself refuses the request.
        EXPIRED: Yeedu does not know the session (any more).
        OURS: A setting on this side is wrong; repeating the request changes nothing.
    """

    TRANSIENT = "transient"
    GONE = "gone"
    REFUSED = "refused"
    EXPIRED = "expired"
    OURS = "ours"


def classify(error: YeeduError) -> Failure:
    """Return what a failed call shows."""
    match error:
        case YeeduConfigurationError():
            return Failure.OURS
        case YeeduNotFound():
            return Failure.GONE
        case YeeduAuthenticationError() if error.status in EXPIRED_STATUSES or error.code == EXPIRED_CODE:
            return Failure.EXPIRED
        case _ if error.is_retryable:
            return Failure.TRANSIENT
        case _:
            return Failure.REFUSED


def may_have_acted(error: YeeduError) -> bool:
    """Return whether Yeedu may have acted on a request that failed with this error.

    It has not if the request was never sent, for example after a failed login, or if Yeedu itself turned it
    away.
    """
    if error.is_before_call:
        return False
    match error:
        case YeeduTransportError():
            return error.was_sent
        case YeeduRateLimited():
            return False  # whoever sets the limit, this request was turned away
        case YeeduServerError():
            return True
        case YeeduAPIError():
            return not error.is_from_yeedu
        case _:
            return False


def is_unanswered(error: YeeduError) -> bool:
    """Return whether a request was sent but not answered, so that Yeedu may still be working on it."""
    if isinstance(error, YeeduAPIError):
        return not error.is_from_yeedu and error.status in GATEWAY_TIMEOUTS
    return isinstance(error, YeeduTransportError) and error.was_sent


def reason(error: YeeduError) -> str:
    """Return in a few words why a request is repeated."""
    if isinstance(error, YeeduAPIError):
        if error.status == 429:
            return "Yeedu asks to be called less often"
        return f"{'Yeedu' if error.is_from_yeedu else 'something in front of Yeedu'} answered {error.status}"
    if isinstance(error, YeeduTransportError) and not error.was_sent:
        return "Yeedu could not be reached"
    return "the connection failed"
