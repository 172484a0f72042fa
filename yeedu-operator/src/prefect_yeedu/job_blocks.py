"""Blocks for a job and a notebook: trigger, wait, fetch the result."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from prefect.blocks.abstract import JobBlock
from pydantic import BaseModel, ConfigDict, Field, model_validator

from prefect_yeedu.credentials import DOCUMENTATION_URL, LOGO_URL, YeeduCredentials
from prefect_yeedu.definition_blocks import find_target, is_address, make_call
from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.flow_run.dispatch import with_async_twin
from prefect_yeedu.flow_run.stopping import run_in_thread
from prefect_yeedu.job_runs import YeeduJobRun
from prefect_yeedu.models import RunKind, YeeduResult
from prefect_yeedu.options import OptionFields
from prefect_yeedu.urls import parse_url

# At run time the subscripted class would be a separate block type, which the UI would offer.
_Block = JobBlock[YeeduResult] if TYPE_CHECKING else JobBlock


class _Definition(BaseModel):
    """Fields common to the job and notebook blocks; not a block itself, so that it cannot be registered."""

    model_config = ConfigDict(hide_input_in_errors=True)

    credentials: YeeduCredentials = Field(default=..., description="Which Yeedu is called, and who calls.")
    workspace: int | None = Field(
        default=None, description="The workspace's id, unless a whole address is given."
    )


def _check(
    block: YeeduJob | YeeduNotebook, kind: RunKind, address: str | None, which: int | str | None
) -> None:
    """Refuse a block that cannot be triggered.

    Raises:
        YeeduConfigurationError: A field is missing or wrong; the text says what to fill in.
    """
    if (address is None) == (which is None):
        raise YeeduConfigurationError(
            f"A Yeedu{kind.title()} block takes either {kind}_url, the {kind}'s address, or {kind}, its id "
            f"or name; {'neither' if address is None else 'both'} is filled in."
        )
    if address is not None:
        parse_url(address)
        find_target(kind, address, None)
    elif which is not None:
        find_target(kind, which, block.workspace)
        if not is_address(which):
            block.credentials.connection()


def _trigger(
    block: YeeduJob | YeeduNotebook,
    kind: RunKind,
    which: int | str | None,
    event: threading.Event | None = None,
) -> YeeduJobRun:
    options = OptionFields(**{name: getattr(block, name) for name in OptionFields.model_fields})
    call = make_call(kind, which or "", block.workspace, block.credentials, options)
    event = event or threading.Event()
    return YeeduJobRun(call.start(event), event)


# Pyright compares the methods of Block with those of pydantic's models, which it overrides.
class YeeduJob(_Definition, OptionFields, _Block):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A job on Yeedu.

    Attributes:
        job_url: The job's address, with the port of Yeedu's REST API.
        job: The job's id or name, instead of its address.

    Raises:
        YeeduConfigurationError: A field cannot be used, or a required one is missing.

    Example:
        Run a stored job and print its output:
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
    _documentation_url = DOCUMENTATION_URL
    _logo_url = LOGO_URL

    job_url: str | None = Field(
        default=None, description="The job's address, with the port of Yeedu's REST API."
    )
    job: int | str | None = Field(
        default=None, description="The job's id or name in the workspace, instead of its address."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check(self, RunKind.JOB, self.job_url, self.job)
        return self

    async def atrigger(self) -> YeeduJobRun:
        """Submit the job, without blocking the event loop."""
        return await run_in_thread(lambda event: self._trigger(event))

    @with_async_twin(atrigger)
    def trigger(self) -> YeeduJobRun:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Submit the job, or find the run that an earlier attempt of this flow run submitted.

        Raises:
            YeeduError: Yeedu refuses to run it; the text says why.
        """
        return self._trigger()

    def _trigger(self, event: threading.Event | None = None) -> YeeduJobRun:
        return _trigger(self, RunKind.JOB, self.job_url or self.job, event)


class YeeduNotebook(_Definition, OptionFields, _Block):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A notebook on Yeedu.

    Attributes:
        notebook_url: The notebook's address, with the port of Yeedu's REST API.
        notebook: The notebook's id or name, instead of its address.

    Raises:
        YeeduConfigurationError: A field cannot be used, or a required one is missing.

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
    _documentation_url = DOCUMENTATION_URL
    _logo_url = LOGO_URL

    notebook_url: str | None = Field(
        default=None, description="The notebook's address, with the port of Yeedu's REST API."
    )
    notebook: int | str | None = Field(
        default=None, description="The notebook's id or name in the workspace, instead of its address."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check(self, RunKind.NOTEBOOK, self.notebook_url, self.notebook)
        return self

    async def atrigger(self) -> YeeduJobRun:
        """Start a run of the notebook, without blocking the event loop."""
        return await run_in_thread(lambda event: self._trigger(event))

    @with_async_twin(atrigger)
    def trigger(self) -> YeeduJobRun:  # pyright: ignore[reportIncompatibleMethodOverride] - has a twin
        """Start a run of the notebook, or find the one that an earlier attempt of this flow run started.

        `wait_for_completion` executes the cells.

        Raises:
            YeeduError: Yeedu refuses to run it; the text says why.
        """
        return self._trigger()

    def _trigger(self, event: threading.Event | None = None) -> YeeduJobRun:
        return _trigger(self, RunKind.NOTEBOOK, self.notebook_url or self.notebook, event)
