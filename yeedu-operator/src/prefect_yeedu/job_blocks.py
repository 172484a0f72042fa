"""Blocks for a job and a notebook: trigger, wait, fetch the result."""

from __future__ import annotations

import threading
from abc import ABC
from typing import TYPE_CHECKING

from prefect.blocks.abstract import JobBlock
from prefect.blocks.abstract import JobRun as PrefectJobRun
from pydantic import Field

from prefect_yeedu.credentials import DOCUMENTATION_URL, YeeduCredentials
from prefect_yeedu.errors import YeeduConfigurationError, YeeduRunError
from prefect_yeedu.flow_run.calls import YeeduCall, make_request
from prefect_yeedu.flow_run.dispatch import async_dispatch
from prefect_yeedu.flow_run.stopping import run_in_thread
from prefect_yeedu.models import RunKind, YeeduResult
from prefect_yeedu.urls import parse_url

if TYPE_CHECKING:
    from prefect_yeedu.runs.starting import StartedRun


class YeeduRun(PrefectJobRun[YeeduResult]):  # NOT A BLOCK
    """A run on Yeedu that a block has triggered.

    Args:
        started: The run.
        event: Has the wait end and the remote run stopped when it is set.
    """

    def __init__(self, started: StartedRun, event: threading.Event) -> None:
        self._started = started
        self._event = event
        self._end: YeeduResult | YeeduRunError | None = None

    @property
    def run_id(self) -> int:
        """Yeedu's id of the run."""
        return self._started.run.run_id

    @property
    def url(self) -> str:
        """The run's page in Yeedu's user interface."""
        return self._started.run.url

    async def await_for_completion(self) -> None:
        """Wait until the run has ended, without blocking the event loop."""
        await run_in_thread(lambda _: self._wait(), self._event)

    @async_dispatch(await_for_completion)
    def wait_for_completion(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Wait until the run has ended; a notebook's cells are executed meanwhile.

        Only `fetch_result` says whether it succeeded.

        Raises:
            YeeduTransportError: Yeedu stayed out of reach.
            YeeduAPIError: Yeedu refuses to say.
        """
        self._wait()

    async def afetch_result(self) -> YeeduResult:
        """Return the result of a run that has ended."""
        return self._result()

    @async_dispatch(afetch_result)
    def fetch_result(self) -> YeeduResult:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Return the result of a run that has ended.

        Raises:
            YeeduRunError: It did not succeed, or has not been waited for.
        """
        return self._result()

    def _wait(self) -> None:
        if self._end is not None:
            return
        try:
            self._end = self._started.finish()
        except YeeduRunError as error:
            self._end = error

    def _result(self) -> YeeduResult:
        if self._end is None:
            raise YeeduRunError(
                f"Run {self.run_id} has not been waited for; call wait_for_completion first. See {self.url}.",
                **self._started.run.context(),
            )
        if isinstance(self._end, YeeduRunError):
            raise self._end
        return self._end


# At run time the subscripted class would be a block type of its own, and the UI would offer it.
_Block = JobBlock[YeeduResult] if TYPE_CHECKING else JobBlock


class _YeeduBlock(_Block, ABC):
    """What the blocks for jobs and notebooks have in common."""

    _documentation_url = DOCUMENTATION_URL

    credentials: YeeduCredentials = Field(default=..., description="Who connects to Yeedu.")
    arguments: str | None = Field(
        default=None, description="Given to the program as one text, instead of the definition's own."
    )
    conf: list[str] = Field(default_factory=list, description="Spark settings, each of the form key=value.")
    timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds after which the remote run is stopped; empty to wait for ever.",
    )
    generation: str | None = Field(
        default=None,
        description="The server's API generation (v1, v1b, v2), where it is not to be found out.",
    )
    ui_url: str | None = Field(
        default=None, description="Base of links into Yeedu's user interface, where it is not to be derived."
    )

    def _trigger(self, address: str, kind: RunKind, event: threading.Event | None = None) -> YeeduRun:
        url = parse_url(address)
        if url.run_kind is not kind:
            raise YeeduConfigurationError(f"The address is not one of a {kind}; use the block for it.")
        request = make_request(
            arguments=self.arguments,
            conf=self.conf,
            timeout_seconds=self.timeout_seconds,
            generation=self.generation,
            ui_url=self.ui_url,
        )
        call = YeeduCall(url, request, self.credentials.access())
        event = event or threading.Event()
        return YeeduRun(call.start(event), event)


class YeeduJob(_YeeduBlock):
    """A job on Yeedu.

    Attributes:
        job_url: The job's address, with the port of Yeedu's REST API.

    Example:
        Run a stored job and print what it printed:
        ```python
        from prefect_yeedu import YeeduJob

        job = YeeduJob.load("BLOCK_NAME")
        run = job.trigger()
        run.wait_for_completion()
        print(run.fetch_result().stdout)
        ```
    """

    _block_type_name = "Yeedu Job"
    _block_type_slug = "yeedu-job"

    job_url: str = Field(default=..., description="The job's address, with the port of Yeedu's REST API.")

    async def atrigger(self) -> YeeduRun:
        """Submit the job, without blocking the event loop."""
        return await run_in_thread(lambda event: self._trigger(self.job_url, RunKind.JOB, event))

    @async_dispatch(atrigger)
    def trigger(self) -> YeeduRun:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Submit the job, or find the run again that an earlier attempt of this flow run submitted.

        Raises:
            YeeduError: Yeedu refuses to run it; the text says why.
        """
        return self._trigger(self.job_url, RunKind.JOB)


class YeeduNotebook(_YeeduBlock):
    """A notebook on Yeedu.

    Attributes:
        notebook_url: The notebook's address, with the port of Yeedu's REST API.

    Example:
        Run a stored notebook and print the text of its outputs:
        ```python
        from prefect_yeedu import YeeduNotebook

        notebook = YeeduNotebook.load("BLOCK_NAME")
        run = notebook.trigger()
        run.wait_for_completion()
        for output in run.fetch_result().outputs:
            print(output.text)
        ```
    """

    _block_type_name = "Yeedu Notebook"
    _block_type_slug = "yeedu-notebook"

    notebook_url: str = Field(
        default=..., description="The notebook's address, with the port of Yeedu's REST API."
    )

    async def atrigger(self) -> YeeduRun:
        """Start a run of the notebook, without blocking the event loop."""
        return await run_in_thread(lambda event: self._trigger(self.notebook_url, RunKind.NOTEBOOK, event))

    @async_dispatch(atrigger)
    def trigger(self) -> YeeduRun:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Start a run of the notebook, or find the one again that an earlier attempt started.

        The cells are executed by `wait_for_completion`.

        Raises:
            YeeduError: Yeedu refuses to run it; the text says why.
        """
        return self._trigger(self.notebook_url, RunKind.NOTEBOOK)
