"""The errors of this service.

Tree:
    SettingError            a setting cannot be used; the message says which and what to do
    ServerError
        ServerUnavailable   the server is down or failing; time does not count until it recovers
        ServerRefused       the server rejects the request: something was deleted meanwhile, for example
            LoginRefused    it rejects the login; the service exits, so that a restart picks up the new one
"""


class SettingError(Exception):
    """A setting cannot be used; the message says which and what to do."""


class ServerError(Exception):
    """A request to the Prefect server failed."""


class ServerUnavailable(ServerError):  # noqa: N818 - reads as what it says
    """The server is down or failing.

    Args:
        message: The request, and what went wrong.
        is_busy: Whether it answered that it is busy (429 or 5xx).
    """

    def __init__(self, message: str, *, is_busy: bool = False) -> None:
        super().__init__(message)
        self.is_busy = is_busy


class ServerRefused(ServerError):  # noqa: N818 - reads as what it says
    """The server rejects the request.

    Args:
        message: The request, and the answer.
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message


class LoginRefused(ServerRefused):
    """The server rejects the login or the API key."""
