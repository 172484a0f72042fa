"""A run on Yeedu: look at it, wait for it through outages, stop it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from prefect_yeedu.errors import (
    YeeduError,
    YeeduNotFound,
    YeeduRunCancelled,
    YeeduRunError,
    YeeduRunFailed,
    YeeduRunTimedOut,
    YeeduStopRequested,
)
from prefect_yeedu.models import CellResult, Output, RunState
from prefect_yeedu.patience import ONCE, Deadline, Patience, PollSchedule

if TYPE_CHECKING:
    from prefect_yeedu.client.api import RunAPI, RunSnapshot
    from prefect_yeedu.client.log_follower import Stream

logger = logging.getLogger(__name__)

MAX_OUTAGE_WAIT_SECONDS = 30.0


class RunContext(TypedDict):
    """What every error about a run says besides its text."""

    run_id: int
    state: str
    run_url: str


@dataclass(frozen=True)
class WaitOptions:
    """How long to wait for what.

    Attributes:
        timeout_seconds: Budget of the whole run on the monotonic clock; None waits for ever.
        outage_seconds: How long Yeedu may be out of reach while a run goes on.
        log_patience_seconds: How long a log that Yeedu does not have yet is waited for after the end.
        stop_seconds: How long a run that was asked to stop is watched until it has.
        kernel_seconds: How long a notebook's kernel may take to be ready once the run is RUNNING.
        max_poll_seconds: Longest wait between two looks at the run; with 13 all calls of an hour, with those
            for logs, stay below 400.
        follows_logs: Whether a job's logs are read while it runs.
        saves_outputs: Whether the outputs of a notebook's cells are saved in Yeedu.
        max_output_characters: How much of a notebook's outputs is kept in its result, in characters.
        max_cell_output_characters: How much of one cell's outputs is.
        max_cell_outputs: How many outputs of one cell are.
    """

    timeout_seconds: float | None = None
    outage_seconds: float = 7200.0
    log_patience_seconds: float = 15.0
    stop_seconds: float = 60.0
    kernel_seconds: float = 600.0
    max_poll_seconds: float = 13.0
    follows_logs: bool = True
    saves_outputs: bool = True
    max_output_characters: int = 10_000_000
    max_cell_output_characters: int = 2_000_000
    max_cell_outputs: int = 1000


class RunListener:
    """Hears what happens to a run; each method does nothing until a subclass says what."""

    def on_submitted(self, run: RemoteRun, *, is_new: bool) -> None:
        """Yeedu has the run; waiting for it begins now."""

    def on_state(self, run: RemoteRun, state: RunState) -> None:
        """The run has another state than before."""

    def on_line(self, stream: Stream, line: str) -> None:
        """A job has printed a line."""

    def on_cell_started(self, index: int, total: int) -> None:
        """A notebook's cell was sent to the kernel."""

    def on_output(self, index: int, output: Output) -> None:
        """A notebook's cell has made an output, or a further piece of a stream."""

    def on_cell_finished(self, result: CellResult) -> None:
        """A notebook's cell is finished."""

    def on_trouble(self, text: str) -> None:
        """Something is not as it should be, and is being dealt with."""

    def stop_reason(self) -> str | None:
        """Return why the remote run is to be stopped, or None while it is wanted; asked often."""
        return None


class RemoteRun:
    """One run on Yeedu.

    Args:
        api: Calls about this kind of run.
        run_id: The run.
        ui_url: Base of links into Yeedu's user interface; None derives it.
        options: How long to wait for what.
        listener: Hears what happens.
    """

    def __init__(
        self,
        api: RunAPI,
        run_id: int,
        *,
        ui_url: str | None = None,
        options: WaitOptions | None = None,
        listener: RunListener | None = None,
    ) -> None:
        self.api = api
        self.run_id = run_id
        self.url = api.run_page(run_id, ui_url)
        self.options = options or WaitOptions()
        self.listener = listener or RunListener()
        self.clock = api.clock
        self.state = RunState.SUBMITTED
        self._out_since: float | None = None
        self._failures = 0

    def start_deadline(self) -> Deadline:
        """Return the end of this run's budget, counted from now."""
        return Deadline.after(self.clock, self.options.timeout_seconds)

    def start_polling(self) -> PollSchedule:
        """Return the waits between looks, counted from now."""
        return PollSchedule(self.clock, max_seconds=self.options.max_poll_seconds)

    def look(self) -> RunState | None:
        """Return the state now, or None while Yeedu is out of reach.

        Raises:
            YeeduTransportError: Yeedu has been out of reach for too long.
            YeeduAPIError: Yeedu refuses to say.
        """
        try:
            snapshot = self.api.read(self.run_id, patience=ONCE)
        except YeeduError as error:
            self._note_outage(error)
            return None
        if self._out_since is not None:
            self.listener.on_trouble("Yeedu answers again.")
            self._out_since, self._failures = None, 0
        self._note_state(snapshot)
        return self.state

    def ensure_wanted(self, deadline: Deadline) -> None:
        """Raise when there is no reason to wait any longer.

        Raises:
            YeeduRunTimedOut: The budget is spent.
            YeeduStopRequested: The listener says that the run is not wanted any more.
        """
        reason = self.listener.stop_reason()
        if reason is not None:
            raise YeeduStopRequested(
                f"Run {self.run_id} was asked to stop, because {reason}; see {self.url}.", **self.context()
            )
        if deadline.has_passed:
            raise YeeduRunTimedOut(
                f"Run {self.run_id} did not end within {self.options.timeout_seconds:g} seconds and "
                f"was asked to stop; see {self.url}.",
                **self.context(),
            )

    def sleep(self, schedule: PollSchedule, deadline: Deadline) -> None:
        """Wait until the next look; longer while Yeedu is out of reach.

        Raises:
            YeeduRunTimedOut: The budget is spent.
            YeeduStopRequested: The run is not wanted any more.
        """
        self.ensure_wanted(deadline)
        wait_seconds = schedule.next_wait_seconds()
        if self._failures:
            wait_seconds = max(
                wait_seconds, min(0.5 * 2.0 ** min(self._failures, 10), MAX_OUTAGE_WAIT_SECONDS)
            )
        self.clock.sleep(deadline.limit(wait_seconds))

    def stop(self) -> RunState:
        """Ask Yeedu to end the run and watch until it has; return the last state seen.

        Raises:
            YeeduError: Yeedu did not take the request.
        """
        self.api.stop(self.run_id)
        deadline = Deadline.after(self.clock, self.options.stop_seconds)
        schedule = PollSchedule(self.clock, min_seconds=0.05, max_seconds=2.0)
        while True:
            if (self.look() or self.state).is_terminal:
                return self.state
            if deadline.has_passed:
                self.listener.on_trouble(
                    f"Run {self.run_id} is still {self.state} {self.options.stop_seconds:g} seconds after it "
                    f"was asked to stop; see {self.url}."
                )
                return self.state
            self.clock.sleep(deadline.limit(schedule.next_wait_seconds()))

    def stop_quietly(self) -> None:
        """Ask Yeedu to end the run, on the way out after something else; a failure is only reported."""
        try:
            self.api.stop(self.run_id, patience=Patience(attempts=3))
        except YeeduError as error:
            self.listener.on_trouble(
                f"Run {self.run_id} could not be stopped and may go on; "
                f"stop it by hand at {self.url} ({error})"
            )

    def end_error(self, state: RunState) -> YeeduRunError:
        """Return the error that a final state without success means."""
        errors = self.api.workflow_errors(self.run_id)
        detail = f" ({'; '.join(errors)[:1000]})" if errors else ""
        name = f"Yeedu {self.api.kind} run {self.run_id}"
        if state.is_stopped:
            return YeeduRunCancelled(
                f"{name} was stopped from outside before it finished{detail}; see {self.url}.",
                **self.context(),
            )
        return YeeduRunFailed(
            f"{name} ended in {state}{detail}; its logs are at {self.url}.",
            workflow_errors=errors,
            **self.context(),
        )

    def context(self) -> RunContext:
        """Return what every error about this run says besides its text."""
        return {"run_id": self.run_id, "state": str(self.state), "run_url": self.url}

    def _note_state(self, snapshot: RunSnapshot) -> None:
        if self.state.is_terminal:
            return  # a late answer of another server behind the same address changes nothing
        if snapshot.state is not self.state:
            self.state = snapshot.state
            self.listener.on_state(self, snapshot.state)

    def _note_outage(self, error: YeeduError) -> None:
        if isinstance(error, YeeduNotFound):
            raise YeeduRunFailed(
                f"Yeedu does not know {self.api.kind} run {self.run_id} (any more); see {self.url}.",
                **self.context(),
            ) from None
        if not error.is_retryable:
            raise error
        now = self.clock.now()
        self._failures += 1
        if self._out_since is None:
            self._out_since = now
            self.listener.on_trouble(f"Waiting for Yeedu to answer again; run {self.run_id} goes on. {error}")
        elif now - self._out_since > self.options.outage_seconds:
            raise error
