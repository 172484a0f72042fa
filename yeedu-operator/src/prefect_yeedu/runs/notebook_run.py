"""A notebook's run: waits for its kernel, executes the cells, ends the run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect_yeedu.errors import (
    YeeduConfigurationError,
    YeeduConflict,
    YeeduError,
    YeeduKernelDied,
    YeeduRunLost,
    YeeduStopRequested,
)
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.models import RunState, YeeduResult
from prefect_yeedu.retry_policy import ONCE, Deadline, PollSchedule
from prefect_yeedu.runs.cell_options import CellOptions
from prefect_yeedu.runs.cell_runner import CellRunner
from prefect_yeedu.runs.cell_sequence import CellSequence
from prefect_yeedu.runs.kernel_connection import REFUSAL_SECONDS
from prefect_yeedu.runs.remote_run import RemoteRun
from prefect_yeedu.wire.kernel_protocol import READY_KERNEL_STATES, kernel_state
from prefect_yeedu.wire.notebook_document import NotebookDocument
from prefect_yeedu.wire.responses import JsonObject, number_of, object_of, read_object, text_of

if TYPE_CHECKING:
    from prefect_yeedu.models import CellResult
    from prefect_yeedu.runs.record import Record

logger = logging.getLogger(__name__)


class NotebookRun(RemoteRun):
    """One run of a notebook on Yeedu, whose cells this client sends.

    A notebook's run never ends by itself: when all cells have succeeded the client ends it, and `STOPPED` is
    its normal final state.

    Attributes:
        cell_options: How the cells are to be executed.
    """

    cell_options: CellOptions = CellOptions()
    _language: str = ""

    def execute(self, definition_id: int, *, record: Record | None = None) -> YeeduResult:
        """Execute all cells of a notebook on this run's kernel and end the run.

        The remote run is stopped whatever happens, and only then are the outputs of a failed notebook saved.
        The one exception: if only the connection to Yeedu has failed, the run goes on, and the next attempt
        takes it over.

        Args:
            definition_id: The notebook.
            record: What an earlier attempt has recorded about this run.

        Returns:
            The result, with that of each cell.

        Raises:
            YeeduCellFailed: A cell raised, or took longer than `cell_timeout_seconds`; the cells after it
                were not sent.
            YeeduKernelDied: The kernel died or was restarted, or the run ended by itself, and the kernel with
                it.
            YeeduRunCancelled: Somebody stopped the run.
            YeeduRunFailed: The run ended by itself before it had a kernel.
            YeeduRunTimedOut: It took longer than its budget.
            YeeduRunLost: Yeedu does not know the run any more.
            YeeduTransportError: Yeedu has been unreachable for too long.
        """
        sequence: CellSequence | None = None
        exit_value: str | None = None
        try:
            if record is not None and record.cells_done:
                self.poll()
                deadline = Deadline.after(self.clock, self.options.timeout_seconds)
                sequence = self._prepare(definition_id, deadline)
                cells, exit_value = sequence.restore(), record.exit_value
            else:
                deadline = Deadline.after(self.clock, self.options.timeout_seconds)
                self._wait_until_running(deadline)
                sequence = self._prepare(definition_id, deadline)
                self._wait_for_kernel(deadline)
                is_resumed = record is not None and not record.is_new
                cells = self._execute_cells(sequence, deadline, is_resumed=is_resumed)
                exit_value = sequence.exit_value
                self.ledger.note_cells_done(exit_value)  # before the stop, as a stopped run does not show it
                sequence.save()
        except BaseException as error:
            if self._goes_on_after(error):
                raise
            if self.stop_after(error) and sequence is not None:
                is_hurried = not isinstance(error, YeeduError) or isinstance(error, YeeduStopRequested)
                sequence.save(is_last_chance=is_hurried)
            raise
        self.stop()
        return YeeduResult(
            kind=str(self.api.kind),
            run_id=self.run_id,
            state=self.state_text,
            url=self.url,
            cells=cells,
            exit_value=exit_value,
            language=self._language,
        )

    @staticmethod
    def _goes_on_after(error: BaseException) -> bool:
        """Return whether an error says nothing about the run, which is then left to the next attempt."""
        if not isinstance(error, YeeduError):
            return False
        return isinstance(error, YeeduRunLost) or classify(error) in {Failure.TRANSIENT, Failure.EXPIRED}

    def _prepare(self, definition_id: int, deadline: Deadline) -> CellSequence:
        """Load the notebook as it is for this run, retrying during outages."""
        trial = self.options.outage_policy.start(self.clock)
        while True:
            try:
                document = self._load(definition_id)
            except YeeduError as error:
                trial.wait(error, f"for the notebook {definition_id}")
                self.ensure_wanted(deadline)
            else:
                self._language = document.language
                return CellSequence(self, document, definition_id, self.cell_options)

    def _load(self, definition_id: int) -> NotebookDocument:
        """Return the notebook from where its generation stores it."""
        definition = self.api.definition(definition_id)
        language = text_of(object_of(definition, "spark_job_type"), "language")
        parameters = self.cell_options.parameters
        document = NotebookDocument.of_definition(definition, language, parameters)
        if document is not None:
            return document
        content = self._download(definition_id, definition)
        return NotebookDocument(content, language, parameters=parameters, run_id=self.run_id)

    def _execute_cells(
        self, sequence: CellSequence, deadline: Deadline, *, is_resumed: bool
    ) -> tuple[CellResult, ...]:
        runner = CellRunner(self, deadline, cell_timeout_seconds=self.cell_options.timeout_seconds)
        try:
            runner.open()
            return sequence.execute(runner, is_resumed=is_resumed)
        finally:
            runner.close()

    def _wait_until_running(self, deadline: Deadline) -> None:
        schedule = self.start_polling()
        while (state := self.poll()) is not RunState.RUNNING:
            if state is not None and (state.is_terminal or state.is_stopped):
                raise self.end_error(state)
            self.sleep(schedule, deadline)

    def _wait_for_kernel(self, deadline: Deadline) -> None:
        """Wait until the kernel accepts cells, starting it if necessary; outages do not count."""
        path = self.api.path(f"{self.api.routes.kernel}/startOrGetStatus", run=self.run_id)
        kernel_deadline = Deadline.after(self.clock, self.options.kernel_seconds)
        schedule = PollSchedule(self.clock, max_seconds=5.0)
        refusal_deadline: Deadline | None = None
        while True:
            status, failure = self._kernel_status(path)
            if status in READY_KERNEL_STATES:
                return
            if failure is None or classify(failure) not in {Failure.REFUSED, Failure.EXPIRED, Failure.OURS}:
                refusal_deadline = None
            elif refusal_deadline is None:  # a server that is just starting the run may refuse as well
                refusal_deadline = Deadline.after(self.clock, REFUSAL_SECONDS)
            elif refusal_deadline.has_passed and not isinstance(failure, YeeduConflict):
                raise failure
            state = self.poll()
            if state is None:
                kernel_deadline = Deadline.after(self.clock, self.options.kernel_seconds)
            elif state.is_terminal or state.is_stopped:
                raise self.end_error(state)
            if kernel_deadline.has_passed:
                why = str(failure or f"its state is {status or 'not known'}").removesuffix(".")
                raise YeeduKernelDied(
                    f"The kernel of run {self.run_id} was not ready within {self.options.kernel_seconds:g} "
                    f"seconds ({why}); see {self.url}.",
                    **self.context(),
                )
            self.sleep(schedule, deadline)

    def _kernel_status(self, path: str) -> tuple[str, YeeduError | None]:
        """Ask for the kernel, and return its state, or why that is not known."""
        try:
            response = self.api.call("POST", path, f"for the kernel of run {self.run_id}", retries=ONCE)
            return kernel_state(object_of(read_object(response, path), "kernel_info"), "kernel_status"), None
        except YeeduError as error:
            logger.debug("The kernel of run %d is not ready: %s", self.run_id, error)
            return "", error

    def _download(self, definition_id: int, definition: JsonObject) -> JsonObject:
        client = self.api.client
        what = f"for the notebook {definition_id}"
        if self.api.routes.document is not None:
            path = self.api.path(self.api.routes.document, run=self.run_id, definition=definition_id)
            return client.get_object(path, what)
        file_id = number_of(definition, "notebook_file_id")
        if file_id is None:
            raise YeeduConfigurationError(
                f"Yeedu does not say where the cells of notebook {definition_id} are."
            )
        params = {"file_id": file_id, "workspace_id": self.api.workspace_id}
        return client.get_object("workspace/file/download", what, params=params)
