"""A notebook's run: wait for its kernel, execute the cells, end the run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prefect_yeedu.answers import JsonObject, number_of, object_of, read_object, text_of
from prefect_yeedu.cell_runner import CellRunner
from prefect_yeedu.errors import (
    YeeduCellFailed,
    YeeduConfigurationError,
    YeeduError,
    YeeduKernelDied,
    YeeduKernelError,
)
from prefect_yeedu.kernel_protocol import CLEAN_EXIT, Execution
from prefect_yeedu.models import CellResult, RunState, YeeduResult
from prefect_yeedu.notebook_document import NotebookDocument
from prefect_yeedu.remote_run import RemoteRun
from prefect_yeedu.retry import Deadline, PollSchedule

if TYPE_CHECKING:
    from prefect_yeedu.notebook_document import Cell

logger = logging.getLogger(__name__)

READY_KERNEL_STATES = frozenset({"idle", "starting", "busy"})


class NotebookRun(RemoteRun):
    """One run of a notebook on Yeedu, whose cells this client sends.

    A notebook's run never ends by itself: when all cells have succeeded the client ends it, and `STOPPED` is
    its normal final state.
    """

    def execute(self, definition_id: int) -> YeeduResult:
        """Execute all cells of a notebook on this run's kernel and end the run.

        Whatever happens, the remote run is asked to end.

        Args:
            definition_id: The notebook.

        Returns:
            The result, with what became of each cell.

        Raises:
            YeeduCellFailed: A cell raised; the cells after it were not sent.
            YeeduKernelDied: The kernel died, restarted or stayed out of reach.
            YeeduRunCancelled: Somebody stopped the run.
            YeeduRunFailed: The run ended by itself before the cells were executed.
            YeeduRunTimedOut: It took longer than its budget.
        """
        try:
            results, exit_value = self._execute_cells(definition_id)
        except BaseException:
            if not self.state.is_terminal:
                self.stop_quietly()
            raise
        return YeeduResult(
            kind=str(self.api.kind),
            run_id=self.run_id,
            state=str(self._end()),
            url=self.url,
            cells=tuple(results),
            exit_value=exit_value,
        )

    def _execute_cells(self, definition_id: int) -> tuple[list[CellResult], str | None]:
        deadline = self.start_deadline()
        self._wait_until_running(deadline)
        document = self._load(definition_id)
        self._wait_for_kernel(deadline)
        runner = CellRunner(self, deadline)
        try:
            runner.open()
            return self._send_cells(runner, document)
        finally:
            runner.close()

    def _end(self) -> RunState:
        """End the run after success; that all cells succeeded is not undone by an end that does not come."""
        try:
            return self.stop()
        except YeeduError as error:
            self.listener.on_trouble(
                f"All cells succeeded, but run {self.run_id} could not be stopped and may go on; "
                f"stop it by hand at {self.url} ({error})"
            )
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
            response = self.api.client.call("POST", path, f"for the kernel of run {self.run_id}", attempts=1)
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
        params = {"file_id": file_id, "workspace_id": client.url.workspace_id}
        return client.get_object("workspace/file/download", what, params=params)

    def _send_cells(
        self, runner: CellRunner, document: NotebookDocument
    ) -> tuple[list[CellResult], str | None]:
        results: list[CellResult] = []
        exit_value: str | None = None
        for cell in document.cells:
            if not cell.is_executable or exit_value is not None:
                results.append(CellResult(cell.index, "skipped"))
                continue
            self.listener.on_cell_started(cell.index, len(document.cells))
            started_at = self.clock.now()
            execution = runner.execute(cell)
            is_exit = execution.status == "error" and execution.ename == CLEAN_EXIT
            result = CellResult(
                cell.index,
                "exit" if is_exit else str(execution.status),
                tuple(output for output in execution.outputs if not (is_exit and output.kind == "error")),
                self.clock.now() - started_at,
                execution.execution_count,
            )
            self.listener.on_cell_finished(result)
            results.append(result)
            if is_exit:
                exit_value = execution.evalue
            elif execution.status != "ok":
                raise self._cell_error(cell, execution, len(document.cells))
        return results, exit_value

    def _cell_error(self, cell: Cell, execution: Execution, total: int) -> YeeduKernelError:
        where = f"Cell {cell.index} of {total} of notebook run {self.run_id}"
        if execution.status == "aborted":
            return YeeduKernelError(
                f"{where} was aborted by the kernel before it was executed; see {self.url}.", **self.context()
            )
        evalue = execution.evalue.strip().partition("\n")[0][:500]
        return YeeduCellFailed(
            f"{where} failed with {execution.ename}: {evalue}; see {self.url}.",
            cell_index=cell.index,
            ename=execution.ename,
            evalue=execution.evalue,
            traceback=execution.traceback,
            **self.context(),
        )
