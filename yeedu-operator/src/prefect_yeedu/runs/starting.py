"""Submit a run or find it again, record it, and see to it that nobody leaves it behind on Yeedu."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduConfigurationError,
    YeeduError,
    YeeduStopRequested,
    YeeduSubmissionUnknown,
    YeeduTransportError,
)
from prefect_yeedu.failures import may_have_acted
from prefect_yeedu.models import Generation, RunKind, YeeduResult
from prefect_yeedu.patience import Deadline
from prefect_yeedu.runs.cell_options import CellOptions
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.notebook_run import NotebookRun
from prefect_yeedu.runs.record import Record as RunRecord
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.submission import Ledger, Outcome, Record, submit_once
from prefect_yeedu.runs.waiting import WaitOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from prefect_yeedu.client.api import RunAPI


@dataclass(frozen=True)
class RunRequest:
    """What to run a job or notebook with.

    Attributes:
        arguments: Given to the program as one text; None leaves the definition's own.
        conf: Spark settings, each `key=value`.
        generation: The server's API generation, where it is not to be found out.
        ui_url: Base of links into Yeedu's user interface; None derives it.
        options: How long to wait for what.
        cluster_ids: Clusters to try in order when resources run out on the definition's own.
        parameters: Variables that a cell of its own assigns in a notebook.
        allow_errors: Whether a notebook goes on after a cell that failed.
        cell_timeout_seconds: How long a single cell of a notebook may take; None for ever.

    Raises:
        YeeduConfigurationError: The parameters, or the limit, cannot be used.
    """

    arguments: str | None = None
    conf: tuple[str, ...] = ()
    generation: Generation | None = None
    ui_url: str | None = None
    options: WaitOptions = field(default_factory=WaitOptions)
    cluster_ids: tuple[int, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    allow_errors: bool = False
    cell_timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        _ = self.cell_options  # refuses what cannot be used

    @property
    def cell_options(self) -> CellOptions:
        """How a notebook's cells are to be executed."""
        return CellOptions(self.parameters, self.allow_errors, self.cell_timeout_seconds)


def checked_conf(conf: Sequence[str]) -> tuple[str, ...]:
    """Return conf entries without those that a later one overrides.

    Raises:
        YeeduConfigurationError: An entry is not `key=value`.
    """
    entries: dict[str, str] = {}
    for entry in [conf] if isinstance(conf, str) else conf:
        key, separator, value = entry.partition("=")
        if not (separator and key.strip() and value.strip()):
            raise YeeduConfigurationError(
                f"The conf entry '{entry}' is not of the form key=value; correct it."
            )
        entries.pop(key.strip(), None)
        entries[key.strip()] = value.strip()
    return tuple(f"{key}={value}" for key, value in entries.items())


class StartedRun:
    """A run that exists on Yeedu and has still to be waited for.

    Args:
        run: The run.
        definition: The job or notebook.
        ledger: Where it is recorded.
        record: What was recorded before.
    """

    def __init__(self, run: JobRun | NotebookRun, definition: int, ledger: Ledger, record: Record) -> None:
        self.run = run
        self._definition = definition
        self._ledger = ledger
        self._record = record

    def finish(self) -> YeeduResult:
        """Wait for the end, record it, and return the result.

        Raises:
            YeeduError: It did not succeed; the class says why.
        """
        run, record = self.run, self._record
        try:
            if isinstance(run, NotebookRun):
                known = RunRecord(
                    key=record.key,
                    is_new=record.is_new,
                    cells_done=record.outcome is Outcome.SUCCESS,
                    exit_value=record.exit_value,
                )
                result = run.execute(self._definition, known)
            else:
                result = run.wait()
        except YeeduStopRequested:
            self._ledger.note_outcome(Outcome.STOPPED, str(run.state))
            raise
        except YeeduError as error:
            if isinstance(run, JobRun) and isinstance(error, YeeduTransportError | YeeduAPIError):
                raise  # the remote run goes on, and the next attempt finds it
            self._ledger.note_outcome(Outcome.FAILURE, str(run.state))
            raise
        except BaseException:
            self._ledger.note_outcome(Outcome.STOPPED, str(run.state))
            raise
        if record.outcome is not Outcome.SUCCESS:
            self._ledger.note_outcome(Outcome.SUCCESS, result.state, exit_value=result.exit_value)
        return result


def start(
    api: RunAPI,
    definition: int,
    request: RunRequest,
    listener: RunListener | None = None,
    ledger: Ledger | None = None,
) -> StartedRun:
    """Submit a job or notebook, or find the run that was submitted before.

    Whoever is interrupted meanwhile leaves no run behind: what Yeedu accepts is stopped again.

    Raises:
        YeeduStopRequested: The listener says that the run is not wanted any more.
        YeeduSubmissionUnknown: Whether there is a run cannot be found out.
        YeeduError: Yeedu refuses to run it.
    """
    ledger = ledger or Ledger()
    interrupted = threading.Event()
    pool = ThreadPoolExecutor(1)
    try:  # who we are is settled while the intent is recorded
        login = pool.submit(copy_context().run, api.client.log_in)
        record = ledger.open()
        # A signal raises in the main thread, where it would take away the answer that names the run.
        submission = pool.submit(
            copy_context().run, _submit, api, definition, request, ledger, record, login, interrupted
        )
    finally:
        pool.shutdown(wait=False)  # what was submitted to it is done all the same
    try:
        run = make_run(api, submission.result(), request, listener)
        if record.run_id is None:
            ledger.note_run(run.run_id, run.url)
        run.listener.on_submitted(run, is_new=record.is_new)
        run.ensure_wanted(Deadline.after(run.clock, None))
    except BaseException as error:
        if isinstance(error, YeeduStopRequested) or not isinstance(error, Exception):
            interrupted.set()
            _stop_submitted(api, request, listener, ledger, submission)
        raise
    return StartedRun(run, definition, ledger, record)


def _submit(
    api: RunAPI,
    definition: int,
    request: RunRequest,
    ledger: Ledger,
    record: Record,
    login: Future[None],
    interrupted: threading.Event,
) -> int:
    """Return the id of the run, once who asks for it is logged in."""
    try:
        login.result()
        return submit_once(
            api,
            definition,
            record,
            arguments=request.arguments,
            conf=checked_conf(request.conf),
            interrupted=interrupted,
        )
    except YeeduSubmissionUnknown:
        raise  # the next attempt has to look for the run again
    except YeeduError as error:
        if not may_have_acted(error):
            ledger.note_outcome(Outcome.FAILURE, "not submitted")
        raise


def _stop_submitted(
    api: RunAPI,
    request: RunRequest,
    listener: RunListener | None,
    ledger: Ledger,
    submission: Future[int],
) -> None:
    """Stop what Yeedu accepted, or is still accepting, for a caller that is gone."""
    try:
        run = make_run(api, submission.result(), request, listener)
    except YeeduError as error:
        (listener or RunListener()).on_trouble(f"Interrupted while it was being submitted. {error}")
        return
    run.stop()
    ledger.note_run(run.run_id, run.url)
    ledger.note_outcome(Outcome.STOPPED, str(run.state))


def make_run(
    api: RunAPI, run_id: int, request: RunRequest, listener: RunListener | None
) -> JobRun | NotebookRun:
    """Return the object that stands for a run which exists on Yeedu."""
    kind = NotebookRun if api.kind is RunKind.NOTEBOOK else JobRun
    run = kind(api, run_id, ui_url=request.ui_url, options=request.options, listener=listener)
    if isinstance(run, NotebookRun):
        run.cell_options = request.cell_options
    return run
