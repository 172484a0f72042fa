"""Options for waiting for a run, and the limits on failed polls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.retry_policy import RetryPolicy

if TYPE_CHECKING:
    from prefect_yeedu.errors import YeeduError
    from prefect_yeedu.retry_policy import Clock

MAX_OUTAGE_WAIT_SECONDS = 30.0
# Time limit of an answer during a wait, which does not notice a stop request until the answer arrives.
POLL_READ_SECONDS = 20.0
# How often Yeedu has to say that there is no such run: one answer may come from a replica that lags behind.
GONE_ANSWERS = 5


@dataclass(frozen=True)
class WaitOptions:
    """Limits on waits, logs and outputs.

    Attributes:
        timeout_seconds: Budget of the whole run on the monotonic clock; None for no limit.
        outage_seconds: How long Yeedu may be unreachable while a run goes on.
        gone_seconds: For how long, and at least five times, Yeedu has to say that it does not know a run.
        log_patience_seconds: How long to retry fetching a job's logs after its end, for both together.
        max_log_characters: How much of each log's end a job's result keeps.
        max_log_lines: How many lines of a job or notebook are passed on to the run's log.
        stop_seconds: How long to ask a run to stop and wait for its end. Prefect kills a cancelled flow run
            after 30.
        kernel_seconds: How long a notebook's kernel may take to be ready once the run is RUNNING.
        max_poll_seconds: Longest wait between two polls of the run; with 13, an hour takes fewer than 400
            calls, including those for logs.
        follows_logs: Whether a job's logs are read while it runs.
        saves_outputs: Whether the outputs of a notebook's cells are saved in Yeedu.
        max_output_characters: How much of a notebook's outputs is kept in its result, in characters.
        max_cell_output_characters: How much of one cell's outputs is kept, in characters.
        max_cell_outputs: How many outputs of one cell are kept.
        submit_seconds: How long Yeedu may take to answer a submission, for example while it starts a cluster,
            and to show the run in its list.
        cluster_seconds: How long a stopped cluster may take to run.
    """

    timeout_seconds: float | None = None
    outage_seconds: float = 7200.0
    gone_seconds: float = 60.0
    log_patience_seconds: float = 30.0
    max_log_characters: int = 10 * 1024**2
    max_log_lines: int = 20_000
    stop_seconds: float = 20.0
    kernel_seconds: float = 600.0
    max_poll_seconds: float = 13.0
    follows_logs: bool = True
    saves_outputs: bool = True
    max_output_characters: int = 10_000_000
    max_cell_output_characters: int = 2_000_000
    max_cell_outputs: int = 1000
    submit_seconds: float = 300.0
    cluster_seconds: float = 1800.0

    @property
    def outage_policy(self) -> RetryPolicy:
        """The retry policy of a call while Yeedu is unreachable."""
        return RetryPolicy(
            attempts=None,
            budget_seconds=self.outage_seconds,
            first_wait_seconds=0.5,
            max_wait_seconds=MAX_OUTAGE_WAIT_SECONDS,
        )


class FailedPolls:
    """The polls of a run that have failed since the last successful one.

    Args:
        options: How long they may fail.
        clock: The source of time.

    Attributes:
        count: How many there are.
        wait_seconds: How long to wait before the next poll.
        gone_answers: How often Yeedu itself said that there is no such run.
        gone_seconds: For how long it has said so.
        is_lost: Whether it has said so often and long enough to be believed.
    """

    def __init__(self, options: WaitOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._outage = options.outage_policy.start(clock)
        self._gone_since = 0.0
        self.forget()

    def forget(self) -> None:
        """Start again after a successful poll."""
        self._outage.succeed()
        self.count = self.gone_answers = 0
        self.wait_seconds = self.gone_seconds = 0.0
        self.is_lost = False

    def add(self, error: YeeduError) -> bool:
        """Count a failed poll; return whether another one is worthwhile."""
        self.count += 1
        match classify(error):
            case Failure.GONE if not error.is_before_call:
                return self._add_gone()
            case Failure.TRANSIENT:
                wait_seconds = self._outage.fail(error)
                self.wait_seconds = wait_seconds or 0.0
                return wait_seconds is not None
            case _:
                return False

    def _add_gone(self) -> bool:
        now = self._clock.now()
        self.gone_answers += 1
        if self.gone_answers == 1:
            self._gone_since = now
        self.gone_seconds = now - self._gone_since
        self.is_lost = self.gone_answers >= GONE_ANSWERS and self.gone_seconds >= self._options.gone_seconds
        return not self.is_lost
