"""A job's run: waits for its end while following its logs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prefect_yeedu.models import RunState, YeeduResult
from prefect_yeedu.retry_policy import Deadline, RetryPolicy
from prefect_yeedu.runs.log_follower import LogFollower
from prefect_yeedu.runs.remote_run import RemoteRun

if TYPE_CHECKING:
    from prefect_yeedu.runs.log_follower import Stream

# Whoever resumes at the end of a budget uses another clock: this close to it, the wait is not left again.
CLOCKS_APART_SECONDS = 60.0
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class JobRun(RemoteRun):
    """One run of a job on Yeedu."""

    def wait(self, ends_at: float | None = None) -> YeeduResult:
        """Wait until the run has ended, passing on each line it prints once.

        An hour takes fewer than 400 calls in all. The end is noticed within 0.125 s in the first two seconds,
        within 0.3 of the elapsed time up to 43 s, then within 13 s (6.5 s on average). A growing log is read
        again after half the elapsed time, and at least every two minutes.

        An interrupt, a cancelled flow and a spent budget stop the remote run; an outage of Yeedu does not,
        nor does a listener that leaves the wait.

        Args:
            ends_at: End of a budget that began earlier, in seconds since 1970; None for a new budget.

        Returns:
            The result of a run that ended in DONE.

        Raises:
            YeeduRunFailed: It ended in another state; the text holds Yeedu's own errors.
            YeeduRunCancelled: Somebody stopped it.
            YeeduRunTimedOut: It took longer than its budget.
            YeeduRunLost: Yeedu does not know it any more.
            YeeduTransportError: Yeedu stayed unreachable; the run may go on.
            YeeduAPIError: Yeedu refuses the request; the run may go on.
        """
        budget_seconds = self.options.timeout_seconds if ends_at is None else ends_at - time.time()
        deadline = Deadline.after(self.clock, budget_seconds)

        def pass_on(stream: Stream, line: str) -> None:
            if not self.state.is_terminal:
                self.ensure_wanted(deadline)  # a long log is a long wait too
            self.listener.on_line(stream, line)

        followers = [
            LogFollower(
                self.api, self.run_id, stream, pass_on, max_characters=self.options.max_log_characters
            )
            for stream in STREAMS
        ]
        leaves_before = CLOCKS_APART_SECONDS if ends_at is not None else 0.0
        state = self._await_end(followers, deadline, leaves_before)
        if isinstance(state, BaseException):
            raise state
        self._finish_logs(followers)
        if not state.is_success:
            raise self.end_error(state)
        stdout, stderr = (follower.text for follower in followers)
        return YeeduResult(
            kind=str(self.api.kind),
            run_id=self.run_id,
            state=str(state),
            url=self.url,
            stdout=stdout,
            stderr=stderr,
            truncated=tuple(follower.stream for follower in followers if not follower.is_whole),
        )

    def _await_end(
        self, followers: list[LogFollower], deadline: Deadline, leaves_before: float
    ) -> RunState | BaseException:
        """Return the state that the run has ended in, or the exception to leave with while it goes on.

        Args:
            followers: Read the logs.
            deadline: The budget's end.
            leaves_before: How many seconds before that the wait can be left for the last time.
        """
        with self.stopped_on_the_way_out():
            schedule = self.start_polling()
            while (state := self.poll()) is None or not state.is_terminal:
                if state is not None:
                    left = deadline.seconds_left
                    is_early = left is None or left > leaves_before
                    way_out = self.listener.leave(self, left if is_early else 0.0)
                    if way_out is not None:
                        self.is_left = True
                        return way_out
                if state not in {None, RunState.SUBMITTED} and self.options.follows_logs:
                    for follower in followers:
                        follower.poll(self.clock)
                self.sleep(schedule, deadline)
            return self.listener.leave(self, 0.0) or state

    def _finish_logs(self, followers: list[LogFollower]) -> None:
        """Read the rest of the logs, which share one retry budget."""
        retries = RetryPolicy(attempts=None, budget_seconds=self.options.log_patience_seconds)
        trial, ended_at = retries.start(self.clock), self.clock.now()
        for follower in followers:
            sentence = follower.finish(trial, ended_at=ended_at)
            if sentence is not None:
                self.listener.on_trouble(f"{sentence} See {self.url}.")
