"""The connection to a notebook's kernel, reopened for as long as the run may continue."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect_yeedu.client.kernel_channel import KernelChannel
from prefect_yeedu.errors import YeeduAPIError, YeeduNotFound, YeeduTransportError
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.retry_policy import Deadline, RetryPolicy

if TYPE_CHECKING:
    from prefect_yeedu.errors import YeeduError, YeeduKernelDied
    from prefect_yeedu.runs.kernel_watch import KernelWatch
    from prefect_yeedu.runs.remote_run import RemoteRun

logger = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 10.0
# The loss of a connection that has lasted this long restarts the count of failures.
LASTING_SECONDS = 20.0
# How long Yeedu's own refusals are retried, as they may be those of a server that is starting or ending.
REFUSAL_SECONDS = 60.0
REFUSAL_WAIT_SECONDS = 2.0


class KernelConnection:
    """A connection that outlives outages.

    It is given up when the run is over, its kernel dead, or Yeedu unreachable for longer than
    `WaitOptions.outage_seconds`.

    Args:
        run: The notebook's run.
        kernel_path: The prefix of the kernel's routes.
        watch: Monitors the run while there is no connection.
    """

    def __init__(self, run: RemoteRun, kernel_path: str, watch: KernelWatch) -> None:
        self._run = run
        self._watch = watch
        self._channel = KernelChannel(run.api.client, kernel_path)
        retries = RetryPolicy(
            attempts=None,
            budget_seconds=run.options.outage_seconds,
            first_wait_seconds=FIRST_WAIT_SECONDS,
            max_wait_seconds=MAX_WAIT_SECONDS,
        )
        self._trial = retries.start(run.clock)
        self._opened_at: float | None = None

    def send(self, text: str) -> None:
        """Send a text.

        Raises:
            YeeduTransportError: The connection is lost; whether the text arrived is not known.
        """
        self._channel.send(text)

    def receive(self, timeout_seconds: float) -> str | None:
        """Return the next text, or None if none arrives in time.

        Raises:
            YeeduTransportError: The connection is lost.
        """
        return self._channel.receive(timeout_seconds)

    def note_progress(self) -> None:
        """Reset the count of failures, as something was finished over the connection."""
        self._trial.succeed()

    def reopen(self, error: YeeduTransportError) -> None:
        """Open the connection again after a loss.

        Raises:
            YeeduTransportError: It has been impossible for too long; the run goes on.
            YeeduRunError: The run is over, or not wanted any more.
        """
        now = self._run.clock.now()
        if self._opened_at is not None and now - self._opened_at > LASTING_SECONDS:
            self._trial.succeed()
        if not self._trial.failures:
            self._run.listener.on_trouble(
                f"Connecting to the kernel of run {self._run.run_id} again. {error}"
            )
        self._wait_after(error)
        self.open()

    def open(self) -> None:
        """Open the connection, retrying while Yeedu is unreachable.

        Raises:
            YeeduKernelDied: Yeedu answers, but does not know the kernel, or refuses connections to it.
            YeeduAuthenticationError: Yeedu refuses the token.
            YeeduTransportError: Yeedu has been unreachable for too long; the run goes on.
            YeeduRunError: The run is over, or not wanted any more.
        """
        run = self._run
        kernel_deadline = Deadline.after(run.clock, run.options.kernel_seconds)
        refusal_deadline: Deadline | None = None
        while True:
            try:
                self._channel.open()
            except (YeeduTransportError, YeeduAPIError) as error:
                failure: YeeduError = error
            else:
                self._opened_at = run.clock.now()
                return
            logger.debug("The kernel of run %d cannot be reached: %s", run.run_id, failure)
            if not self._watch.poll():
                kernel_deadline = Deadline.after(run.clock, run.options.kernel_seconds)
            elif self._opened_at is None and kernel_deadline.has_passed:
                seconds = f"{run.options.kernel_seconds:g} seconds"
                raise self._lost(f"nobody could connect to it within {seconds}", failure)
            if classify(failure) is Failure.TRANSIENT:
                refusal_deadline = None
                self._wait_after(failure)
                continue
            refusal_deadline = refusal_deadline or Deadline.after(run.clock, REFUSAL_SECONDS)
            if isinstance(failure, YeeduNotFound) and refusal_deadline.has_passed:
                raise self._lost(f"Yeedu has not known it for {REFUSAL_SECONDS:g} seconds", failure)
            if refusal_deadline.has_passed:
                raise failure
            run.clock.sleep(REFUSAL_WAIT_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _wait_after(self, error: YeeduError) -> None:
        wait_seconds = self._trial.fail(error)
        if wait_seconds is None:
            raise error
        self._run.clock.sleep(wait_seconds)

    def _lost(self, reason: str, failure: YeeduError) -> YeeduKernelDied:
        return self._watch.died(f"{reason} ({failure})")
