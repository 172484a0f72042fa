"""What can go wrong.

Tree:
    SettingError            a setting cannot be used; the message says which and what to do
    ServerError
        ServerUnavailable   the server does not answer, or is ill; time does not count until it is well again
        ServerRefused       the server answers that it will not: something deleted meanwhile, for example
            LoginRefused    it refuses the login; the service leaves, so that it starts again with the new one
"""


class SettingError(Exception):
    """A setting cannot be used; the message says which and what to do."""


class ServerError(Exception):
    """The Prefect server did not do what it was asked for."""


class ServerUnavailable(ServerError):  # noqa: N818 - reads as what it says
    """It does not answer, or is ill.

    Args:
        message: What was asked for, and what came instead of an answer.
        is_busy: Whether it answered that it cannot answer now.
    """

    def __init__(self, message: str, *, is_busy: bool = False) -> None:
        super().__init__(message)
        self.is_busy = is_busy


class ServerRefused(ServerError):  # noqa: N818 - reads as what it says
    """It answers that it will not.

    Args:
        message: What was asked for, and the answer.
        status: The HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message


class LoginRefused(ServerRefused):
    """It refuses the login or the key."""
