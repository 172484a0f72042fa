"""A notebook's run: wait for its kernel, execute the cells, end the run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduConfigurationError, YeeduError, YeeduKernelDied
from prefect_yeedu.models import CellResult, RunState, YeeduResult
from prefect_yeedu.patience import ONCE, Deadline, PollSchedule
from prefect_yeedu.runs.cell_runner import CellRunner
from prefect_yeedu.runs.cell_sequence import CellSequence
from prefect_yeedu.runs.remote_run import RemoteRun
from prefect_yeedu.runs.saved_outputs import restore_outputs
from prefect_yeedu.runs.submission import Outcome
from prefect_yeedu.wire.answers import JsonObject, number_of, object_of, read_object, text_of
from prefect_yeedu.wire.notebook_document import NotebookDocument

if TYPE_CHECKING:
    from prefect_yeedu.runs.submission import Ledger, Record

logger = logging.getLogger(__name__)

READY_KERNEL_STATES = frozenset({"idle", "starting", "busy"})


class NotebookRun(RemoteRun):
    """One run of a notebook on Yeedu, whose cells this client sends.

    A notebook's run never ends by itself: when all cells have succeeded the client ends it, and `STOPPED` is
    its normal final state.
    """

    def execute(
        self, definition_id: int, *, ledger: Ledger | None = None, record: Record | None = None
    ) -> YeeduResult:
        """Execute all cells of a notebook on this run's kernel and end the run.

        Whatever happens, the remote run is asked to end.

        Args:
            definition_id: The notebook.
            ledger: Told of the success before the run is ended, because an ended run does not tell.
            record: What an earlier attempt has recorded about this run.

        Returns:
            The result, with what became of each cell.

        Raises:
            YeeduCellFailed: A cell raised; the cells after it were not sent.
            YeeduKernelDied: The kernel died, restarted or stayed out of reach.
            YeeduRunCancelled: Somebody stopped the run.
            YeeduRunFailed: The run ended by itself before the cells were executed.
            YeeduRunTimedOut: It took longer than its budget.
        """
        exit_value = record.exit_value if record is not None else None
        try:
            if record is not None and record.outcome is Outcome.SUCCESS:
                self.look()
                cells = self._restore_cells(definition_id)
            else:
                is_resumed = record is not None and not record.is_new
                cells, exit_value = self._execute_cells(definition_id, is_resumed=is_resumed)
                if ledger is not None:
                    ledger.note_outcome(Outcome.SUCCESS, str(self.state), exit_value=exit_value)
        except BaseException as error:
            self.stop_after(error)
            raise
        return YeeduResult(
            kind=str(self.api.kind),
            run_id=self.run_id,
            state=str(self.state if self.state.is_terminal else self._end()),
            url=self.url,
            cells=cells,
            exit_value=exit_value,
        )

    def _execute_cells(
        self, definition_id: int, *, is_resumed: bool
    ) -> tuple[tuple[CellResult, ...], str | None]:
        deadline = self.start_deadline()
        self._wait_until_running(deadline)
        document = self._load(definition_id)
        self._wait_for_kernel(deadline)
        runner = CellRunner(self, deadline)
        try:
            runner.open()
            sequence = CellSequence(self, runner, document, definition_id)
            return sequence.execute(is_resumed=is_resumed), sequence.exit_value
        finally:
            runner.close()

    def _restore_cells(self, definition_id: int) -> tuple[CellResult, ...]:
        """Return the cells of a run that an earlier attempt has finished, as they were saved in Yeedu."""
        document = self._load(definition_id)
        return tuple(
            CellResult(
                cell.index,
                "ok" if cell.is_executable else "skipped",
                restore_outputs(document.raw_cells[cell.index - 1], self.run_id),
            )
            for cell in document.cells
        )

    def _end(self) -> RunState:
        """End the run after success; that all cells succeeded is not undone by an end that does not come."""
        self.stop()
        return self.state

    def _wait_until_running(self, deadline: Deadline) -> None:
        schedule = self.start_polling()
        while (state := self.look()) is not RunState.RUNNING:
            if state is not None and (state.is_terminal or state.is_stopped):
                raise self.end_error(state)
            self.sleep(schedule, deadline)

    def _wait_for_kernel(self, deadline: Deadline) -> None:
        """Wait until the kernel takes cells, starting it where it is not."""
        path = self.api.path(f"{self.api.routes.kernel}/startOrGetStatus", run=self.run_id)
        kernel_deadline = Deadline.after(self.clock, self.options.kernel_seconds)
        schedule = PollSchedule(self.clock, max_seconds=5.0)
        while True:
            status = self._kernel_status(path)
            if status in READY_KERNEL_STATES:
                return
            state = self.look()
            if state is not None and (state.is_terminal or state.is_stopped):
                raise self.end_error(state)
            if kernel_deadline.has_passed:
                raise YeeduKernelDied(
                    f"The kernel of run {self.run_id} was not ready within {self.options.kernel_seconds:g} "
                    f"seconds (its state is {status or 'not known'}); see {self.url}.",
                    **self.context(),
                )
            self.sleep(schedule, deadline)

    def _kernel_status(self, path: str) -> str | None:
        try:
            response = self.api.call("POST", path, f"for the kernel of run {self.run_id}", patience=ONCE)
            status = text_of(object_of(read_object(response, path), "kernel_info"), "kernel_status")
        except YeeduError as error:
            logger.debug("The kernel of run %d is not ready: %s", self.run_id, error)
            return None
        return status.lower() if status else None

    def _load(self, definition_id: int) -> NotebookDocument:
        """Return the notebook as it is for this run, from where its generation keeps it."""
        definition = self.api.definition(definition_id)
        language = text_of(object_of(definition, "spark_job_type"), "language")
        document = NotebookDocument.of_definition(definition, language)
        if document is not None:
            return document
        return NotebookDocument(self._download(definition_id, definition), language)

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
