"""A job's run: wait for its end while its logs come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_yeedu.client.log_follower import LogFollower
from prefect_yeedu.errors import YeeduError, YeeduRunTimedOut, YeeduStopRequested
from prefect_yeedu.models import RunState, YeeduResult
from prefect_yeedu.runs.remote_run import RemoteRun

if TYPE_CHECKING:
    from prefect_yeedu.client.log_follower import Stream

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class JobRun(RemoteRun):
    """One run of a job on Yeedu."""

    def wait(self) -> YeeduResult:
        """Wait until the run has ended, passing on each line it prints once.

        An hour costs fewer than 400 calls in all. The end is noticed within an eighth of a second in the
        first two, within 0.3 of the elapsed time in the first 43, then within 13 seconds: 6.5 on average.
        A log that grows is read again after half the elapsed time, and at least
        every two minutes.

        An interrupt, a cancelled flow and a spent budget stop the remote run; a lost Yeedu does not.

        Returns:
            The result of a run that ended in DONE.

        Raises:
            YeeduRunFailed: It ended in another state; the text holds Yeedu's own errors.
            YeeduRunCancelled: Somebody stopped it.
            YeeduRunTimedOut: It took longer than its budget.
        """
        followers = [LogFollower(self.api, self.run_id, stream, self.listener.on_line) for stream in STREAMS]
        try:
            state = self._wait_for_end(followers)
        except (YeeduRunTimedOut, YeeduStopRequested):
            self.stop_quietly()
            raise
        except YeeduError:
            raise
        except BaseException:
            self.stop_quietly()
            raise
        for follower in followers:
            follower.finish(self.clock, patience_seconds=self.options.log_patience_seconds)
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
        )

    def _wait_for_end(self, followers: list[LogFollower]) -> RunState:
        deadline = self.start_deadline()
        schedule = self.start_polling()
        while True:
            state = self.look()
            if state is not None and state.is_terminal:
                return state
            if state is not None and state is not RunState.SUBMITTED and self.options.follows_logs:
                for follower in followers:
                    follower.poll(self.clock)
            self.sleep(schedule, deadline)
