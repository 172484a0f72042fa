"""A run that a block has triggered: wait for it, poll it, stop it, read its logs, fetch its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prefect.blocks.abstract import JobRun as PrefectJobRun

from prefect_yeedu.errors import YeeduNotFound, YeeduRunError
from prefect_yeedu.flow_run.dispatch import with_async_twin
from prefect_yeedu.flow_run.stopping import run_in_thread
from prefect_yeedu.models import RunState, YeeduResult

if TYPE_CHECKING:
    import threading

    from prefect_yeedu.flow_run.calls import Triggered


class YeeduJobRun(PrefectJobRun[YeeduResult]):  # NOT A BLOCK
    """A run of a job or a notebook on Yeedu that a block has triggered.

    Each method has an async twin whose name begins with `a`. In async code the plain method returns the
    twin's coroutine, so `await run.status()` works too.

    Args:
        triggered: The run.
        event: Ends the wait and stops the remote run when set.
    """

    def __init__(self, triggered: Triggered, event: threading.Event) -> None:
        self._triggered = triggered
        self._run = triggered.started.run
        self._event = event
        self._end: YeeduResult | YeeduRunError | None = None

    @property
    def run_id(self) -> int:
        """Yeedu's id of the run."""
        return self._run.run_id

    @property
    def url(self) -> str:
        """The run's page in Yeedu's user interface."""
        return self._run.url

    async def await_for_completion(self) -> None:
        """Wait until the run has ended, without blocking the event loop."""
        await run_in_thread(lambda _: self._wait(), self._event)

    @with_async_twin(await_for_completion)
    def wait_for_completion(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Wait until the run has ended, executing the cells of a notebook.

        Only `fetch_result` says whether the run succeeded.

        Raises:
            YeeduTransportError: Yeedu stayed unreachable.
            YeeduAPIError: Yeedu refuses the request.
        """
        self._wait()

    async def afetch_result(self) -> YeeduResult:
        """Return the result of a run that has ended."""
        return self._result()

    @with_async_twin(afetch_result)
    def fetch_result(self) -> YeeduResult:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Return the result of a run that has ended.

        Raises:
            YeeduRunError: The run did not succeed, or has not been waited for.
        """
        return self._result()

    async def astatus(self) -> RunState:
        """Return the run's current state, without blocking the event loop."""
        return await run_in_thread(lambda _: self._status())

    @with_async_twin(astatus)
    def status(self) -> RunState:
        """Return the run's current state.

        Raises:
            YeeduTransportError: Yeedu is unreachable.
            YeeduAPIError: Yeedu refuses the request.
        """
        return self._status()

    async def acancel(self) -> bool:
        """Stop the run without blocking the event loop; return whether it was seen to end."""
        return await run_in_thread(lambda _: self._cancel())

    @with_async_twin(acancel)
    def cancel(self) -> bool:
        """Stop the run and wait until it has ended; return whether it was seen to end.

        A caller that waits for the run gets `YeeduRunCancelled` from `fetch_result`.
        """
        return self._cancel()

    async def alogs(
        self, stream: Literal["stdout", "stderr"] = "stdout", last_lines: int | None = None
    ) -> str:
        """Return what the run has printed so far, without blocking the event loop."""
        return await run_in_thread(lambda _: self._logs(stream, last_lines))

    @with_async_twin(alogs)
    def logs(self, stream: Literal["stdout", "stderr"] = "stdout", last_lines: int | None = None) -> str:
        """Return what the run has printed so far; empty while Yeedu has no such log.

        Args:
            stream: Which of the two logs.
            last_lines: How many lines from the end; None for all.

        Raises:
            YeeduTransportError: Yeedu is unreachable.
            YeeduAPIError: Yeedu refuses the request.
        """
        return self._logs(stream, last_lines)

    def _wait(self) -> None:
        if self._end is not None:
            return
        try:
            self._end = self._triggered.finish()
        except YeeduRunError as error:
            self._end = error

    def _result(self) -> YeeduResult:
        if self._end is None:
            raise YeeduRunError(
                f"Run {self.run_id} has not been waited for; call wait_for_completion first. See {self.url}.",
                **self._run.context(),
            )
        if isinstance(self._end, YeeduRunError):
            raise self._end
        return self._end

    def _status(self) -> RunState:
        return self._run.api.read(self.run_id).state

    def _cancel(self) -> bool:
        return self._run.stop()

    def _logs(self, stream: Literal["stdout", "stderr"], last_lines: int | None) -> str:
        try:
            return self._run.api.log_text(self.run_id, stream, last_lines=last_lines)
        except YeeduNotFound:
            return ""
