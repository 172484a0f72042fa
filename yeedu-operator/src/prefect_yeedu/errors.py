"""The errors of this package: each branch says what to do, each leaf what happened.

Tree::

    YeeduError
      YeeduConfigurationError          a bad URL, a missing secret, a TLS file that is not there
      YeeduTransportError              unreachable, timed out, connection lost            (retryable)
      YeeduAPIError                    Yeedu answered, but not with what was asked for
        YeeduAuthenticationError       401, 403, 440
        YeeduNotFound                  404
        YeeduConflict                  409
        YeeduRateLimited               429                                                (retryable)
        YeeduServerError               5xx                                                (retryable)
        YeeduUnexpectedAnswer          a proxy's page or the like, whatever its status       (retryable)
        YeeduUnhealthy                 the health check did not answer 200                (retryable)
      YeeduPrefectError                the Prefect server refuses the request, or has no such object
        YeeduPrefectUnavailable        it could not be reached, or is in trouble          (retryable)
      YeeduRunError                    about one remote run
        YeeduRunFailed                 it ended in ERROR or TERMINATED
        YeeduRunCancelled              somebody stopped it
          YeeduStopRequested           it is not wanted any more, so we stop it
        YeeduRunTimedOut               it took longer than its budget
        YeeduRunLost                   Yeedu does not know it any more, and its end was not seen
        YeeduSubmissionUnknown         it is unknown whether Yeedu accepted the submission
        YeeduKernelError               a notebook's kernel
          YeeduKernelDied              it died, restarted or could not be reached any more
          YeeduCellFailed              one of the notebook's cells raised
"""

# ruff: noqa: N818 - leaves are named after what happened; the base class says Error

from __future__ import annotations

from typing import Any, ClassVar, TypedDict


class YeeduError(Exception):
    """Base of every error that this package raises on purpose; the text is one sentence for the user.

    Attributes:
        is_retryable: Whether the same request may succeed later.
        is_before_call: Whether it was raised during the login, so that the call itself was not made.
    """

    is_retryable: ClassVar[bool] = False
    is_before_call: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling `__init__`, whose keywords the default form would lose."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(kind: type[YeeduError], args: tuple[Any, ...], state: dict[str, Any]) -> YeeduError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class YeeduConfigurationError(YeeduError):
    """Something that the user gave cannot be used: a URL, a block, a file, an argument."""


class YeeduTransportError(YeeduError):
    """Yeedu could not be reached, or the connection was lost before an answer came.

    Attributes:
        was_sent: Whether Yeedu may have received the request and acted on it.
    """

    is_retryable = True

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class YeeduAPIError(YeeduError):
    """Yeedu answered with an error, or with something that is not a valid answer.

    Attributes:
        status: The HTTP status.
        code: Yeedu's own code, such as `RFA-000404`, if it gave one.
        retry_after_seconds: How long Yeedu asked to wait, if it did.
        is_from_yeedu: Whether the answer has the form of Yeedu's own errors, with an `error_code`. Any other
            may come from anything in between, and says nothing about the requested object.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str | None = None,
        retry_after_seconds: float | None = None,
        is_from_yeedu: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.is_from_yeedu = is_from_yeedu


class YeeduAuthenticationError(YeeduAPIError):
    """The user name, password or token was refused, or may not do this."""


class YeeduNotFound(YeeduAPIError):
    """There is no such object, or this user may not see it."""


class YeeduConflict(YeeduAPIError):
    """The object is in the wrong state for the request."""


class YeeduRateLimited(YeeduAPIError):
    """Yeedu asked to be called less often."""

    is_retryable = True


class YeeduServerError(YeeduAPIError):
    """Yeedu failed while it worked on the request."""

    is_retryable = True


class YeeduUnexpectedAnswer(YeeduAPIError):
    """The answer was not Yeedu's own, or had no form that Yeedu uses: a proxy's page, whatever its status."""

    is_retryable = True


class YeeduUnhealthy(YeeduAPIError):
    """The health check answered that Yeedu is not healthy."""

    is_retryable = True


class YeeduPrefectError(YeeduError):
    """The Prefect server refuses the request, or does not have (any more) what was asked for."""


class YeeduPrefectUnavailable(YeeduPrefectError):
    """The Prefect server could not be reached, or is in trouble."""

    is_retryable = True


class RunContext(TypedDict):
    """The fields that every error about a run has besides its text."""

    run_id: int
    state: str
    run_url: str


class YeeduRunError(YeeduError):
    """Something went wrong with one remote run.

    Attributes:
        run_id: Yeedu's id of the run; None before it has one.
        state: The last state seen.
        run_url: The run's page in Yeedu's user interface.
    """

    def __init__(
        self, message: str, *, run_id: int | None = None, state: str | None = None, run_url: str | None = None
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.state = state
        self.run_url = run_url


class YeeduRunFailed(YeeduRunError):
    """The remote run ended without success.

    Attributes:
        workflow_errors: What Yeedu itself reports about the failure.
    """

    def __init__(
        self,
        message: str,
        *,
        run_id: int | None = None,
        state: str | None = None,
        run_url: str | None = None,
        workflow_errors: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, run_id=run_id, state=state, run_url=run_url)
        self.workflow_errors = workflow_errors


class YeeduRunCancelled(YeeduRunError):
    """The remote run was stopped by somebody."""


class YeeduStopRequested(YeeduRunCancelled):
    """The remote run is not wanted any more; the text says why, and whether it has been stopped."""


class YeeduRunTimedOut(YeeduRunError):
    """The remote run took longer than its budget; the text says whether it has been stopped."""


class YeeduRunLost(YeeduRunError):
    """Yeedu has said repeatedly that it does not know the remote run, whose end was not seen."""


class YeeduSubmissionUnknown(YeeduRunError):
    """The answer to a submission was lost, and it cannot be determined whether a run exists."""


class YeeduKernelError(YeeduRunError):
    """Something went wrong with a notebook run's kernel."""


class YeeduKernelDied(YeeduKernelError):
    """The kernel died, restarted, or stayed unreachable."""


class YeeduCellFailed(YeeduKernelError):
    """A cell of a notebook raised an exception.

    Attributes:
        cell_index: Position of the cell in the notebook, counted from 1.
        ename: The exception's class, such as `ZeroDivisionError`.
        evalue: The exception's text.
        traceback: The kernel's traceback, without terminal colours.
    """

    def __init__(
        self,
        message: str,
        *,
        cell_index: int = 0,
        ename: str = "",
        evalue: str = "",
        traceback: str = "",
        run_id: int | None = None,
        state: str | None = None,
        run_url: str | None = None,
    ) -> None:
        super().__init__(message, run_id=run_id, state=state, run_url=run_url)
        self.cell_index = cell_index
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback
