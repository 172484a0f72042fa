"""Classifies failed calls: transient, gone, refused or expired.

`retry_policy` and `runs.wait_options` decide by that whether, and for how long, a call is repeated.
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
# With these a proxy says that it has waited long enough; what it waited for may still be at work.
GATEWAY_TIMEOUTS = frozenset({408, 499, 504, 524})


class Failure(StrEnum):
    """What a failed exchange shows.

    Attributes:
        TRANSIENT: Nothing about the object that was asked for: there was no answer, a proxy answered, or
            Yeedu is in trouble. The same request may succeed later.
        GONE: Yeedu itself says that there is no such object.
        REFUSED: Yeedu itself says no.
        EXPIRED: Yeedu does not know the session (any more).
        OURS: A setting on this side is wrong; repeating the request changes nothing.
    """

    TRANSIENT = "transient"
    GONE = "gone"
    REFUSED = "refused"
    EXPIRED = "expired"
    OURS = "ours"


def classify(error: YeeduError) -> Failure:
    """Return what a failed exchange shows."""
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
    """Tell whether Yeedu may have acted on a request that failed so.

    It has not when the request was never sent, such as after a login that failed, and when Yeedu itself
    turned it away.
    """
    if error.is_before_call:
        return False
    match error:
        case YeeduTransportError():
            return error.was_sent
        case YeeduRateLimited():
            return False  # whoever counts requests, this one was one too many
        case YeeduServerError():
            return True
        case YeeduAPIError():
            return not error.is_from_yeedu
        case _:
            return False


def is_unanswered(error: YeeduError) -> bool:
    """Tell whether nobody answered a request that was made, so that Yeedu may still be at work on it."""
    if isinstance(error, YeeduAPIError):
        return not error.is_from_yeedu and error.status in GATEWAY_TIMEOUTS
    return isinstance(error, YeeduTransportError) and error.was_sent


def reason(error: YeeduError) -> str:
    """Return in a few words why a request is made again."""
    if isinstance(error, YeeduAPIError):
        if error.status == 429:
            return "Yeedu asks to be called less often"
        return f"{'Yeedu' if error.is_from_yeedu else 'something in front of Yeedu'} answered {error.status}"
    if isinstance(error, YeeduTransportError) and not error.was_sent:
        return "Yeedu could not be reached"
    return "the connection failed"
