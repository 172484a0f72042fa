"""A run on Yeedu: poll it, wait for it through outages, stop it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from prefect_yeedu.errors import (
    RunContext,
    YeeduError,
    YeeduRunCancelled,
    YeeduRunError,
    YeeduRunFailed,
    YeeduRunLost,
    YeeduRunTimedOut,
    YeeduStopRequested,
)
from prefect_yeedu.failures import Failure, classify, may_have_acted
from prefect_yeedu.models import CellResult, Output, RunState
from prefect_yeedu.retry_policy import ONCE, Clock, Deadline, PollSchedule, RetryPolicy
from prefect_yeedu.runs.record import Ledger
from prefect_yeedu.runs.wait_options import POLL_READ_SECONDS, FailedPolls, WaitOptions

if TYPE_CHECKING:
    from collections.abc import Generator

    from prefect_yeedu.client.api import RunAPI
    from prefect_yeedu.runs.log_follower import Stream
    from prefect_yeedu.wire.run_object import RunSnapshot

# The time limit of one stop request, which is also made again after this long if the run goes on.
STOP_READ_SECONDS = 5.0
_OWN_ENDS = (YeeduRunTimedOut, YeeduStopRequested)


class RunListener:
    """Is told what happens to a run; each method does nothing unless a subclass overrides it."""

    def on_submitted(self, run: RemoteRun, *, is_new: bool) -> None:
        """Take note that Yeedu has the run, and that the wait for it begins."""

    def on_state(self, run: RemoteRun, state: RunState) -> None:
        """Take note of the run's new state."""

    def on_line(self, stream: Stream, line: str) -> None:
        """Take note of a line that a job has printed."""

    def on_cell_started(self, index: int, total: int) -> None:
        """Take note that a notebook's cell was sent to the kernel."""

    def on_output(self, index: int, output: Output) -> None:
        """Take note of an output of a notebook's cell, or of the next piece of a stream."""

    def on_cell_finished(self, result: CellResult) -> None:
        """Take note that a notebook's cell is finished."""

    def on_trouble(self, text: str) -> None:
        """Take note of a problem that is being dealt with."""

    def on_wait(self) -> None:
        """Take note that the run goes on; called in each wait, for a notebook about every second."""

    def leave(self, run: RemoteRun, seconds_left: float | None) -> BaseException | None:
        """Return what to leave the wait with, or None to stay; called at each poll, and with 0 at the end."""

    def stop_reason(self) -> str | None:
        """Return why the remote run must be stopped, or None while it is wanted; called often."""
        return None

    def is_awaited_again(self, error: BaseException) -> bool:  # noqa: ARG002 - a subclass uses it
        """Return whether another process will wait for the run after this error, as when a pod is evicted."""
        return False


class RemoteRun:
    """One run on Yeedu.

    Args:
        api: Calls about this kind of run.
        run_id: The run.
        ui_url: Base of links into Yeedu's user interface; None to derive it.
        options: Limits on waits, logs and outputs.
        listener: Is told what happens.
        ledger: Records what is seen of the run.
        stop_clock: The clock for stopping the run, whose waits nobody cuts short; default: the client's.
    """

    def __init__(
        self,
        api: RunAPI,
        run_id: int,
        *,
        ui_url: str | None = None,
        options: WaitOptions | None = None,
        listener: RunListener | None = None,
        ledger: Ledger | None = None,
        stop_clock: Clock | None = None,
    ) -> None:
        self.api = api
        self.run_id = run_id
        self.url = api.run_page(run_id, ui_url)
        self.options = options or WaitOptions()
        self.listener = listener or RunListener()
        self.ledger = ledger or Ledger()
        self.clock = api.clock
        self.stop_clock = stop_clock or api.client.clock
        self.state = RunState.SUBMITTED
        self.has_asked_to_stop = False
        self.is_left = False  # by a caller that returns when it has ended
        self._word = ""
        self._failed_looks = FailedPolls(self.options, self.clock)

    def start_polling(self) -> PollSchedule:
        """Return the waits between polls, counted from now."""
        return PollSchedule(self.clock, max_seconds=self.options.max_poll_seconds)

    def poll(self) -> RunState | None:
        """Return the current state, or None while it cannot be read.

        Raises:
            YeeduTransportError: Yeedu has been unreachable for too long.
            YeeduRunLost: Yeedu keeps saying that it does not know the run.
            YeeduAPIError: Yeedu refuses the request.
        """
        try:
            snapshot = self.api.read(self.run_id, retries=ONCE, read_seconds=POLL_READ_SECONDS)
        except YeeduError as error:
            self._note_failure(error)
            return None
        if self._failed_looks.count:
            self.listener.on_trouble(f"Yeedu tells about run {self.run_id} again.")
            self._failed_looks.forget()
        self._note_state(snapshot)
        return self.state

    def ensure_wanted(self, deadline: Deadline) -> None:
        """Raise if there is no reason to wait any longer; whoever gives up stops the run.

        Raises:
            YeeduRunTimedOut: The budget is spent.
            YeeduStopRequested: The listener says that the run is not wanted any more.
        """
        if (reason := self.listener.stop_reason()) is not None:
            text = f"Run {self.run_id} is not wanted any more, because {reason}; see {self.url}."
            raise YeeduStopRequested(text, **self.context())
        if deadline.has_passed:
            seconds = self.options.timeout_seconds
            text = f"Run {self.run_id} did not end within {seconds:g} seconds; see {self.url}."
            raise YeeduRunTimedOut(text, **self.context())
        self.listener.on_wait()

    def sleep(self, schedule: PollSchedule, deadline: Deadline) -> None:
        """Wait until the next poll, longer while Yeedu is unreachable; raise as `ensure_wanted` does."""
        self.ensure_wanted(deadline)
        self.clock.sleep(deadline.limit(max(schedule.next_wait_seconds(), self._failed_looks.wait_seconds)))

    @contextmanager
    def stopped_on_the_way_out(self) -> Generator[None]:
        """Stop the run if the block is left before the run has ended.

        A spent budget, a requested stop, an interrupt and any other exception that is not Yeedu's stop it.
        Failures of Yeedu itself do not: the run may go on, and stays open on record.
        """
        try:
            yield
        except BaseException as error:
            if not isinstance(error, YeeduError) or isinstance(error, _OWN_ENDS):
                self.stop_after(error)
            raise

    def stop_after(self, error: BaseException) -> bool:
        """Stop the run unless it is awaited again, and add to an error of ours what is known of its end."""
        if self.listener.is_awaited_again(error):
            self.is_left = True
            return False
        if not isinstance(error, _OWN_ENDS):
            return self.stop()
        failure = self._ask_until_ended()
        error.args = (f"{str(error).removesuffix('.')}. {self._stop_text(failure)}",)
        error.run_id, error.state, error.run_url = self.run_id, self.state_text, self.url
        return self.state.is_terminal

    def stop(self) -> bool:
        """Ask Yeedu to stop the run and poll until it has ended; return whether it was seen to end.

        The request is repeated while Yeedu is in trouble, and while the run goes on as before. This takes no
        longer than `WaitOptions.stop_seconds`, give or take an answer. No failure is raised: a run that was
        not seen to end stays open on record, and the listener is told.
        """
        failure = self._ask_until_ended()
        if not self.state.is_terminal:
            self.listener.on_trouble(
                f"Run {self.run_id}: {self._stop_text(failure)} If it goes on, stop it by hand at {self.url}."
            )
        return self.state.is_terminal

    def end_error(self, state: RunState) -> YeeduRunError:
        """Return the error for a final state without success."""
        errors = self.api.workflow_errors(self.run_id)
        detail = f" ({'; '.join(errors)[:1000]})" if errors else ""
        name = f"Yeedu {self.api.kind} run {self.run_id}"
        if state.is_stopped:
            return YeeduRunCancelled(
                f"{name} was stopped from outside before it finished{detail}; see {self.url}.",
                **self.context(),
            )
        meaning = " (a state that this version does not know)" if state is RunState.ENDED else ""
        return YeeduRunFailed(
            f"{name} ended in {self.state_text}{meaning}{detail}; its logs are at {self.url}.",
            workflow_errors=errors,
            **self.context(),
        )

    @property
    def state_text(self) -> str:
        """The last state seen, in Yeedu's own word if this version does not know it."""
        return self._word or str(self.state)

    def context(self) -> RunContext:
        """Return the fields that every error about this run has besides its text."""
        return {"run_id": self.run_id, "state": self.state_text, "run_url": self.url}

    def _ask_until_ended(self) -> YeeduError | None:
        """Ask for a stop and poll until the run has ended; return what was in the way, if anything was."""
        if self.state.is_terminal:
            return None
        self.ledger.note_stopping()
        clock, api = self.stop_clock, replace(self.api, clock=self.stop_clock)
        deadline = Deadline.after(clock, self.options.stop_seconds)
        trial = RetryPolicy(attempts=None, max_wait_seconds=2.0).start(clock)
        schedule = PollSchedule(clock, min_seconds=0.05, max_seconds=2.0)
        ask_at = clock.now()
        failure: YeeduError | None = None
        while not (self.state.is_terminal or deadline.has_passed):
            limit = deadline.limit(STOP_READ_SECONDS)
            wait_seconds = schedule.next_wait_seconds()
            try:
                if clock.now() >= ask_at and self.state is not RunState.STOPPING:
                    self._ask_to_stop(api, limit)
                    ask_at = clock.now() + STOP_READ_SECONDS
                self._note_state(api.read(self.run_id, retries=ONCE, read_seconds=limit))
                trial.succeed()
                failure = None
            except YeeduError as error:
                failure = error
                if classify(error) not in {Failure.TRANSIENT, Failure.GONE}:
                    break
                wait_seconds = trial.fail(error) or wait_seconds
            if not self.state.is_terminal:
                clock.sleep(deadline.limit(wait_seconds))
        return failure

    def _ask_to_stop(self, api: RunAPI, read_seconds: float) -> None:
        try:
            self.has_asked_to_stop |= api.stop(self.run_id, retries=ONCE, read_seconds=read_seconds)
        except YeeduError as error:
            self.has_asked_to_stop |= may_have_acted(error)
            raise

    def _stop_text(self, failure: YeeduError | None) -> str:
        if self.state.is_terminal:
            return "It was stopped." if self.state.is_stopped else f"It ended in {self.state_text}."
        asked = "was asked to stop" if self.has_asked_to_stop else "could not be asked to stop"
        seen = f"; {str(failure).removesuffix('.')}" if failure is not None else f"; it is {self.state_text}"
        return f"It {asked}, and nobody has seen it end yet{seen}. It stays open on record."

    def _note_state(self, snapshot: RunSnapshot) -> None:
        """Apply what Yeedu shows; only this records that a run is over."""
        state = snapshot.state
        word = snapshot.word if state in {RunState.UNKNOWN, RunState.ENDED} else ""
        if self.state.is_terminal or (state, word) == (self.state, self._word):
            return  # nothing new, or a late answer of another server behind the same address
        self.state, self._word = state, word
        if state.is_terminal:
            self.ledger.note_ended(state)
        elif state is RunState.RUNNING:
            self.ledger.note_running()
        self.listener.on_state(self, state)

    def _note_failure(self, error: YeeduError) -> None:
        failed = self._failed_looks
        if failed.add(error):
            if failed.count == 1:
                self.listener.on_trouble(
                    f"Waiting for Yeedu to tell about run {self.run_id} again, which may go on. {error}"
                )
            return
        if failed.is_lost:
            raise YeeduRunLost(
                f"Yeedu does not know {self.api.kind} run {self.run_id} any more: it has said so "
                f"{failed.gone_answers} times in {failed.gone_seconds:.0f} seconds. The last state seen "
                f"was {self.state_text}, and nobody has seen it end; see {self.url}.",
                **self.context(),
            ) from None
        self.listener.on_trouble(
            f"Run {self.run_id} is not waited for any longer. It may go on, and stays open on record; "
            f"see {self.url}."
        )
        raise error
