"""The errors with which the mock answers requests that it cannot serve.

Tree::

    MockError                       anything that becomes a JSON error body
      NotLoggedInError       401    no token, or one that is unknown or expired
      NoAccessError          403    the session has not selected a tenant, or may not do this
      NotFoundError          404
        UnknownIdError       404    or what a switch says
      ConflictError          409    the object is in the wrong state for the request
      BadRequestError        400
      TooLargeError          413
      AbandonedError         499    the client has gone, and nothing was done
      EndingError            503    the mock is being shut down
"""

from __future__ import annotations


class MockError(Exception):
    """A request that is answered with an error body.

    Args:
        message: One sentence for the caller.
        code: Overrides the class's error code.
        status: Overrides the class's status.
    """

    status = 500
    code = "RFA-000500"

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or type(self).status
        self.error_code = code or self.code

    def body(self) -> dict[str, str]:
        """Return the JSON body; `message` repeats the text because some clients read only that key."""
        return {"error_code": self.error_code, "error_message": self.message, "message": self.message}


class BadRequestError(MockError):
    """The request itself is wrong."""

    status = 400
    code = "RFA-000400"


class NotLoggedInError(MockError):
    """The request carries no usable token."""

    status = 401
    code = "RFA-000001"


class NoAccessError(MockError):
    """The session may not do this."""

    status = 403
    code = "RFA-000403"


class NotFoundError(MockError):
    """The session can see no such object."""

    status = 404
    code = "RFA-000404"


class UnknownIdError(NotFoundError):
    """The session can see no object with this id; a switch chooses the status."""


class ConflictError(MockError):
    """The object exists but is in the wrong state."""

    status = 409
    code = "RFA-000409"


class TooLargeError(MockError):
    """The body is larger than Yeedu accepts."""

    status = 413
    code = "RFA-000413"


class EndingError(MockError):
    """The mock is being shut down."""

    status = 503
    code = "RFA-000503"


class AbandonedError(MockError):
    """The client gave up on its request, and nothing was done."""

    status = 499
    code = "RFA-000499"
