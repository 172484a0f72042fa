"""What hears of a run while it is waited for; `flow_run.run_logging` writes that into the flow run's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect_yeedu.models import CellResult, Output, RunState
    from prefect_yeedu.runs.log_follower import Stream
    from prefect_yeedu.runs.remote_run import RemoteRun


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

    def on_wait(self) -> None:
        """The run goes on; called once in each wait, which with a notebook is about every second."""

    def leave(self, run: RemoteRun, seconds_left: float | None) -> BaseException | None:
        """Return what to leave the wait with while the run goes on, or None to stay; asked at each look."""

    def leave_at_end(self) -> BaseException | None:
        """Return what to leave with once the run, or its budget, is over; None to go on."""

    def stop_reason(self) -> str | None:
        """Return why the remote run is to be stopped, or None while it is wanted; asked often."""
        return None

    def is_awaited_again(self, error: BaseException) -> bool:  # noqa: ARG002 - a subclass looks at it
        """Whether what ends this wait lets another one follow, as in the place of a pod that is evicted."""
        return False
