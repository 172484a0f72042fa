"""Submit a run or find it again, record it, and see to it that nobody leaves it behind on Yeedu."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect_yeedu.errors import (
    YeeduConfigurationError,
    YeeduError,
    YeeduRunError,
    YeeduRunFailed,
    YeeduStopRequested,
)
from prefect_yeedu.models import Generation, RunKind, YeeduResult
from prefect_yeedu.patience import Deadline, telling
from prefect_yeedu.runs.cell_options import CellOptions
from prefect_yeedu.runs.cluster_start import ensure_cluster_runs
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.notebook_run import NotebookRun
from prefect_yeedu.runs.record import Ledger, Phase, Record, Resume
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.submission import Submission
from prefect_yeedu.runs.waiting import WaitOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from prefect_yeedu.client.api import RunAPI

    Submitted = Future[tuple["JobRun | NotebookRun", Record]]


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
        resume: What a later attempt of the same call does with the run of an earlier one.
        deferrable: Whether the caller may leave while a job's run goes on, and come back when it has ended.
        starts_cluster: Whether the definition's cluster is started when it does not run.
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
    resume: Resume = Resume.ON_CRASH
    deferrable: bool = False
    starts_cluster: bool = False
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
        run: The run, which records what is seen of it.
        definition: The job or notebook.
        record: What was recorded before.
    """

    def __init__(self, run: JobRun | NotebookRun, definition: int, record: Record) -> None:
        self.run = run
        self._definition = definition
        self._record = record

    def finish(self) -> YeeduResult:
        """Wait for the end, and return the result.

        Raises:
            YeeduError: It did not succeed; the class says why.
        """
        run, record = self.run, self._record
        try:
            if not isinstance(run, NotebookRun):
                return run.wait(record.deferred_until)
            if record.phase is Phase.ENDED and not record.has_succeeded:
                raise YeeduRunFailed(
                    f"Yeedu notebook run {run.run_id} ended in {record.state} in an earlier attempt; "
                    f"see {run.url}.",
                    **run.context(),
                )
            return run.execute(self._definition, record=record)
        except YeeduError as error:
            run.ledger.note_error(str(error))
            raise


def start(
    api: RunAPI,
    definition: int,
    request: RunRequest,
    listener: RunListener | None = None,
    ledger: Ledger | None = None,
) -> StartedRun:
    """Submit a job or notebook, or find the run that was submitted before.

    Whoever is interrupted meanwhile leaves no run behind: what Yeedu accepts is stopped again, or stays open
    on record.

    Raises:
        YeeduStopRequested: The listener says that the run is not wanted any more.
        YeeduSubmissionUnknown: Whether there is a run cannot be found out.
        YeeduRunError: An earlier attempt's run is in the way, and is not seen to end.
        YeeduError: Yeedu refuses to run it.
    """
    ledger = ledger or Ledger()
    return _Start(api, definition, request, listener or RunListener(), ledger).start()


class _Start:
    """One attempt to come by a run, with the arguments of `start`."""

    def __init__(
        self, api: RunAPI, definition: int, request: RunRequest, listener: RunListener, ledger: Ledger
    ) -> None:
        self._api = api
        self._definition = definition
        self._request = request
        self._listener = listener
        self._ledger = ledger
        self._interrupted = threading.Event()

    def start(self) -> StartedRun:
        pool = ThreadPoolExecutor(1)
        try:
            with telling(self._listener.on_trouble):
                # Who we are is settled while the intent is recorded.
                login = pool.submit(copy_context().run, self._api.client.log_in)
                record = self._open()
                # A signal raises in the main thread, where it would take away the answer that names the run.
                submission = pool.submit(copy_context().run, self._submit, record, login)
        finally:
            pool.shutdown(wait=False)  # what was submitted to it is done all the same
        try:
            run, record = self._answer(submission)
            run.listener.on_submitted(run, is_new=record.is_new)
            run.ensure_wanted(Deadline.after(run.clock, None))
        except BaseException as error:
            if isinstance(error, YeeduStopRequested) or not isinstance(error, Exception):
                self._interrupted.set()
                self._stop_submitted(submission, error)
            if isinstance(error, YeeduError):
                self._ledger.note_error(str(error))
            raise
        return StartedRun(run, self._definition, record)

    def _open(self) -> Record:
        self._ledger.generation = str(self._api.generation)
        self._ledger.kind = self._api.kind
        return self._ledger.open(self._request.resume)

    def _submit(self, record: Record, login: Future[None]) -> tuple[JobRun | NotebookRun, Record]:
        """Return the run, once who asks for it is logged in and nothing is in its way."""
        try:
            login.result()
        except YeeduError:
            if record.is_new:
                self._ledger.note_refused()
            raise
        record = self._clear_the_way(record)
        run_id = self._submission(record).submit()
        run = self._make_run(run_id)
        if record.run_id is None:
            self._ledger.note_submitted(run_id, run.url)
        return run, record

    def _start_cluster(self, api: RunAPI) -> None:
        ensure_cluster_runs(api, self._definition, self._request.options, self._listener)

    def _clear_the_way(self, record: Record) -> Record:
        """Return the record to go on with; a run that this attempt is not to take over is stopped first."""
        is_being_stopped = record.phase is Phase.STOPPING and not record.cells_done
        if record.is_new or not (is_being_stopped or record.is_unwanted(self._request.resume)):
            return record
        run_id = self._submission(record).find()
        if run_id is None:
            self._ledger.note_refused()
            return self._open()
        run = self._make_run(run_id)
        if record.run_id is None:
            self._ledger.note_submitted(run_id, run.url)
        if not run.stop():
            raise YeeduRunError(
                f"Run {run_id} of an earlier attempt is to be stopped first, and nobody has seen it end; it "
                f"stays open on record, and nothing was started. Try again, or stop it by hand at {run.url}.",
                **run.context(),
            )
        return self._open()

    def _submission(self, record: Record) -> Submission:
        request = self._request
        return Submission(
            self._api,
            self._definition,
            self._ledger,
            record,
            request.options.submit_seconds,
            request.arguments,
            checked_conf(request.conf),
            self._interrupted,
            self._start_cluster if request.starts_cluster else None,
            self._listener.on_trouble,
            request.options.cluster_seconds,
        )

    def _make_run(self, run_id: int) -> JobRun | NotebookRun:
        return make_run(self._api, run_id, self._request, self._listener, self._ledger)

    def _answer(self, submission: Submitted) -> tuple[JobRun | NotebookRun, Record]:
        """Return what Yeedu has started, which may take minutes, while it is wanted."""
        while not wait([submission], timeout=1.0).done:
            reason = self._listener.stop_reason()
            if reason is not None:
                raise YeeduStopRequested(f"The wait for Yeedu to start a run has ended, because {reason}.")
        return submission.result()

    def _stop_submitted(self, submission: Submitted, error: BaseException) -> None:
        """Stop what Yeedu accepted, or is still accepting, for a caller that is gone.

        An answer that takes too long is not waited for: the thread that gets it stops the run.
        """
        try:
            run, _ = submission.result(self._request.options.stop_seconds)
        except TimeoutError:
            submission.add_done_callback(_stop_late)
            self._listener.on_trouble(
                f"Interrupted before Yeedu has named a run of {self._api.kind} {self._definition}. If it "
                "still names one, that is stopped, and it stays open on record until then."
            )
        except YeeduStopRequested as end:
            self._listener.on_trouble(f"Interrupted. {end}")
        except YeeduError as failure:
            self._listener.on_trouble(f"Interrupted while it was being submitted. {failure}")
        else:
            run.stop_after(error)


def _stop_late(submission: Submitted) -> None:
    if submission.exception() is None:
        submission.result()[0].stop()


def make_run(
    api: RunAPI, run_id: int, request: RunRequest, listener: RunListener | None, ledger: Ledger | None = None
) -> JobRun | NotebookRun:
    """Return the object that stands for a run which exists on Yeedu."""
    kind = NotebookRun if api.kind is RunKind.NOTEBOOK else JobRun
    run = kind(api, run_id, ui_url=request.ui_url, options=request.options, listener=listener, ledger=ledger)
    if isinstance(run, NotebookRun):
        run.cell_options = request.cell_options
    return run
