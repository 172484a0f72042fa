"""Submits or finds a run, records it, and makes sure that it does not become an orphan on Yeedu."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from prefect_yeedu.errors import YeeduError, YeeduRunError, YeeduRunFailed, YeeduStopRequested
from prefect_yeedu.models import RunKind
from prefect_yeedu.retry_policy import Deadline, telling
from prefect_yeedu.runs.cluster_start import ensure_cluster_runs
from prefect_yeedu.runs.job_run import JobRun
from prefect_yeedu.runs.notebook_run import NotebookRun
from prefect_yeedu.runs.record import Ledger, Phase, Record
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import checked_conf
from prefect_yeedu.runs.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect_yeedu.client.api import RunAPI
    from prefect_yeedu.models import YeeduResult
    from prefect_yeedu.runs.request import RunRequest

    Submitted = Future[tuple["JobRun | NotebookRun", Record]]

T = TypeVar("T")


class StartedRun:
    """A run that exists on Yeedu and still has to be waited for.

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
        """Wait until the run has ended and return the result.

        Raises:
            YeeduError: The run did not succeed; the class says why.
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

    An interrupt meanwhile leaves no run behind: a run that Yeedu accepts is stopped again, or stays open on
    record.

    Raises:
        YeeduStopRequested: The listener says that the run is not wanted any more.
        YeeduSubmissionUnknown: It cannot be determined whether there is a run.
        YeeduRunError: An earlier attempt's run is in the way, and was not seen to end.
        YeeduError: Yeedu refuses to run it.
    """
    return start_and(lambda started: started, api, definition, request, listener, ledger)


def start_and(
    then: Callable[[StartedRun], T],
    api: RunAPI,
    definition: int,
    request: RunRequest,
    listener: RunListener | None = None,
    ledger: Ledger | None = None,
) -> T:
    """Start a run as `start` does and pass it on to a function, for example to wait for its end.

    This leaves no moment between the two in which an interrupt would orphan the run on Yeedu.

    Raises:
        YeeduError: As `start` raises, or the function.
    """
    return _Start(api, definition, request, listener or RunListener(), ledger or Ledger()).start(then)


class _Start:
    """One attempt to submit or find a run, with the arguments of `start`."""

    def __init__(
        self, api: RunAPI, definition: int, request: RunRequest, listener: RunListener, ledger: Ledger
    ) -> None:
        self._api = api
        self._definition = definition
        self._request = request
        self._listener = listener
        self._ledger = ledger
        self._interrupted = threading.Event()

    def start(self, then: Callable[[StartedRun], T]) -> T:
        submission: Submitted = Future()  # made before there is a run to leave behind
        try:
            self._begin(submission)
            run, record = self._answer(submission)
            run.listener.on_submitted(run, is_new=record.is_new)
            run.ensure_wanted(Deadline.after(run.clock, None))
            return then(StartedRun(run, self._definition, record))
        except BaseException as error:
            if isinstance(error, YeeduStopRequested) or not isinstance(error, Exception):
                self._interrupted.set()
                self._stop_submitted(submission, error)
            if isinstance(error, YeeduError):
                self._ledger.note_error(str(error))
            raise

    def _begin(self, submission: Submitted) -> None:
        pool = ThreadPoolExecutor(1)
        try:
            with telling(self._listener.on_trouble):
                # Logs in while the intent is recorded.
                login = pool.submit(copy_context().run, self._api.client.log_in)
                record = self._open()
                # In a thread: a signal raises in the main one, and would lose the answer with the run's id.
                pool.submit(copy_context().run, self._submit_for, submission, record, login)
        finally:
            pool.shutdown(wait=False)  # its pending calls are still made

    def _open(self) -> Record:
        self._ledger.generation = str(self._api.generation)
        self._ledger.kind = self._api.kind
        return self._ledger.open(self._request.resume)

    def _submit_for(self, submission: Submitted, record: Record, login: Future[None]) -> None:
        if not submission.set_running_or_notify_cancel():
            return
        try:
            submission.set_result(self._submit(record, login))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            submission.set_exception(error)

    def _submit(self, record: Record, login: Future[None]) -> tuple[JobRun | NotebookRun, Record]:
        """Return the run, once the login is done and no earlier run is in the way."""
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
        """Return the record to go on with; first stop a run that this attempt must not take over."""
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
        """Wait for the run that Yeedu starts, which may take minutes, while it is wanted."""
        while not wait([submission], timeout=1.0).done:
            reason = self._listener.stop_reason()
            if reason is not None:
                raise YeeduStopRequested(f"The wait for Yeedu to start a run has ended, because {reason}.")
        return submission.result()

    def _stop_submitted(self, submission: Submitted, error: BaseException) -> None:
        """Stop the run that Yeedu accepted, or is still accepting, for a caller that is gone.

        An answer that takes too long is not waited for: the thread that receives it stops the run.
        """
        if submission.cancel():
            return  # nothing was asked of Yeedu, and nothing will be
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
            if not (run.has_asked_to_stop or run.state.is_terminal or run.is_left):
                run.stop_after(error)


def _stop_late(submission: Submitted) -> None:
    if submission.exception() is None:
        submission.result()[0].stop()


def make_run(
    api: RunAPI, run_id: int, request: RunRequest, listener: RunListener | None, ledger: Ledger | None = None
) -> JobRun | NotebookRun:
    """Return the object for an existing run on Yeedu."""
    kind = NotebookRun if api.kind is RunKind.NOTEBOOK else JobRun
    run = kind(api, run_id, ui_url=request.ui_url, options=request.options, listener=listener, ledger=ledger)
    if isinstance(run, NotebookRun):
        run.cell_options = request.cell_options
    return run
