"""Monitors a notebook's run and its kernel while cells are executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduError, YeeduKernelDied, YeeduRunCancelled
from prefect_yeedu.retry_policy import ONCE, PollSchedule
from prefect_yeedu.wire.kernel_protocol import DEAD_KERNEL_STATES, kernel_state
from prefect_yeedu.wire.responses import object_of

if TYPE_CHECKING:
    from prefect_yeedu.models import RunState
    from prefect_yeedu.retry_policy import Deadline
    from prefect_yeedu.runs.remote_run import RemoteRun

# Each poll of run and kernel takes two calls; the websocket tells most things sooner.
MAX_WATCH_SECONDS = 24.0


class KernelWatch:
    """Checks whether there is still a kernel to wait for.

    Args:
        run: The notebook's run.
        kernel_path: The kernel's routes.
        deadline: End of the run's budget.
    """

    def __init__(self, run: RemoteRun, kernel_path: str, deadline: Deadline) -> None:
        self._run = run
        self._kernel_path = kernel_path
        self._deadline = deadline
        self._schedule = PollSchedule(run.clock, min_seconds=1.0, max_seconds=MAX_WATCH_SECONDS)
        self._look_at = run.clock.now() + self._schedule.min_seconds

    def poll(self) -> bool:
        """Poll the run and its kernel; return whether Yeedu answers.

        Raises:
            YeeduKernelDied: The kernel is dead, or its run has ended by itself.
            YeeduRunCancelled: Somebody stopped the run.
            YeeduRunTimedOut: The budget is spent.
            YeeduStopRequested: The run is not wanted any more.
        """
        self._run.ensure_wanted(self._deadline)
        state = self._run.poll()
        if state is None:
            return False
        if state.is_terminal or state.is_stopped:
            raise self._end_error(state)
        status = self._kernel_status()
        if status in DEAD_KERNEL_STATES:
            raise self.died(f"Yeedu says that it is {status}")
        return True

    def poll_when_due(self) -> None:
        """Poll if it is time to; check every time whether the run is still wanted."""
        if self._run.clock.now() >= self._look_at:
            self.poll()
            self._look_at = self._run.clock.now() + self._schedule.next_wait_seconds()
        else:
            self._run.ensure_wanted(self._deadline)

    def died(self, reason: str) -> YeeduKernelDied:
        """Return the error for a lost kernel."""
        return YeeduKernelDied(
            f"The kernel of run {self._run.run_id} is lost: {reason}; see {self._run.url}.",
            **self._run.context(),
        )

    def _kernel_status(self) -> str:
        """Return the kernel's state; empty if Yeedu does not say, as not every server has this call."""
        what = f"about the kernel of run {self._run.run_id}"
        try:
            answer = self._run.api.client.get_object(f"{self._kernel_path}/status", what, retries=ONCE)
        except YeeduError:
            return ""
        return kernel_state(object_of(answer, "kernel_info"), "kernel_status")

    def _end_error(self, state: RunState) -> YeeduError:
        """Return the error for a run that ended, and its kernel with it, while cells were executed."""
        error = self._run.end_error(state)
        return error if isinstance(error, YeeduRunCancelled) else self.died(str(error).rstrip("."))
