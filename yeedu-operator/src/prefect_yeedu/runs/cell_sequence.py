"""A notebook's cells in order, from the first or from where another attempt got to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduCellFailed, YeeduError, YeeduKernelError
from prefect_yeedu.models import CellResult, Generation
from prefect_yeedu.patience import Patience
from prefect_yeedu.runs.saved_outputs import fitting, restore_outputs, save_result
from prefect_yeedu.wire.kernel_protocol import CLEAN_EXIT, Execution

if TYPE_CHECKING:
    from prefect_yeedu.runs.cell_runner import CellRunner
    from prefect_yeedu.runs.remote_run import RemoteRun
    from prefect_yeedu.wire.notebook_document import Cell, NotebookDocument

# Saving after each cell would cost a quick notebook more than its cells; at the end it is always saved.
SAVE_SECONDS = 10.0


class CellSequence:
    """Executes the cells of one notebook run and saves their outputs in Yeedu.

    Args:
        run: The notebook's run.
        runner: Talks to its kernel.
        document: The notebook.
        definition_id: The notebook's id.
    """

    def __init__(
        self, run: RemoteRun, runner: CellRunner, document: NotebookDocument, definition_id: int
    ) -> None:
        self._run = run
        self._runner = runner
        self._document = document
        self._definition_id = definition_id
        self._results: list[CellResult] = []
        self._saved_at = run.clock.now()
        self._is_saved = True
        self.exit_value: str | None = None

    def execute(self, *, is_resumed: bool = False) -> tuple[CellResult, ...]:
        """Execute what has not been executed yet and return what became of every cell.

        Args:
            is_resumed: Whether another attempt may have executed some of the cells on this kernel already.

        Raises:
            YeeduCellFailed: A cell raised, now or before; the cells after it were not sent.
            YeeduKernelError: The kernel is lost, or cannot say what it has executed.
        """
        done = self._resume() if is_resumed else 0
        position = 0
        try:
            for cell in self._document.cells:
                if not cell.is_executable or self.exit_value is not None:
                    self._results.append(CellResult(cell.index, "skipped"))
                    continue
                position += 1
                if position > done:
                    self._execute(cell)
                elif position == done:
                    self._take_over(cell, is_last=True)
                else:
                    self._take_over(cell)
        finally:
            self._save(is_last=True)
        return tuple(self._results)

    def _resume(self) -> int:
        """Return how many cells an earlier attempt executed."""
        done = self._runner.ask_kernel().executed
        total = sum(cell.is_executable for cell in self._document.cells)
        if done > total:
            raise YeeduKernelError(
                f"The kernel of run {self._run.run_id} has executed {done} cells, but the notebook has "
                f"{total}; somebody else uses it, so it is not taken over. See {self._run.url}.",
                **self._run.context(),
            )
        if done:
            self._run.listener.on_trouble(
                f"Taking over run {self._run.run_id}: {done} of {total} cells have been executed already."
            )
        return done

    def _take_over(self, cell: Cell, *, is_last: bool = False) -> None:
        """Enter the result of a cell that an earlier attempt executed; only the last one can have failed."""
        execution = Execution(cell.id, status="ok", is_idle=True)
        if is_last:
            self._runner.ask_kernel().fill(execution)
        execution.outputs.extend(restore_outputs(self._document.raw_cells[cell.index - 1], self._run.run_id))
        self._conclude(cell, execution, 0.0)

    def _execute(self, cell: Cell) -> None:
        self._run.listener.on_cell_started(cell.index, len(self._document.cells))
        started_at = self._run.clock.now()
        execution = self._runner.execute(cell)
        self._conclude(cell, execution, self._run.clock.now() - started_at)

    def _conclude(self, cell: Cell, execution: Execution, duration_seconds: float) -> None:
        is_exit = execution.status == "error" and execution.ename == CLEAN_EXIT
        result = CellResult(
            cell.index,
            "exit" if is_exit else str(execution.status),
            tuple(output for output in execution.outputs if not (is_exit and output.kind == "error")),
            duration_seconds,
            execution.execution_count,
        )
        self._results.append(result)
        self._run.listener.on_cell_finished(result)
        raw = self._document.raw_cells[cell.index - 1]
        save_result(raw, result, self._form, run_id=self._run.run_id, run_by=self._run.api.client.username)
        self._is_saved = False
        self._save()
        if is_exit:
            self.exit_value = execution.evalue
        elif execution.status != "ok":
            raise self._error(cell, execution)

    @property
    def _form(self) -> Generation:
        """V1B keeps notebooks as V2 does, in nbformat; only V1's own cells have another form."""
        return Generation.V1 if self._document.is_first_form else Generation.V2

    def _save(self, *, is_last: bool = False) -> None:
        """Save the notebook in Yeedu; that this fails does not make the cells fail."""
        now = self._run.clock.now()
        is_due = is_last or now - self._saved_at > SAVE_SECONDS
        if self._is_saved or not is_due or not self._run.options.saves_outputs:
            return
        self._saved_at, self._is_saved = now, True
        api = self._run.api
        content = fitting(self._document.content)
        path = api.path(api.routes.update, run=self._run.run_id, definition=self._definition_id)
        is_v2 = api.generation is Generation.V2
        try:
            api.call(
                "POST",
                path,
                f"to save the outputs of run {self._run.run_id}",
                params={"run_id": self._run.run_id} if is_v2 else None,
                json={"cells": content["cells"]} if self._document.is_first_form else content,
                patience=Patience(attempts=2),
            )
        except YeeduError as error:
            self._run.listener.on_trouble(f"The outputs could not be saved in Yeedu's notebook: {error}")

    def _error(self, cell: Cell, execution: Execution) -> YeeduKernelError:
        total = len(self._document.cells)
        where = f"Cell {cell.index} of {total} of notebook run {self._run.run_id}"
        if execution.status == "aborted":
            return YeeduKernelError(
                f"{where} was aborted by the kernel before it was executed; see {self._run.url}.",
                **self._run.context(),
            )
        evalue = execution.evalue.strip().partition("\n")[0][:500]
        return YeeduCellFailed(
            f"{where} failed with {execution.ename}: {evalue}; see {self._run.url}.",
            cell_index=cell.index,
            ename=execution.ename,
            evalue=execution.evalue,
            traceback=execution.traceback,
            **self._run.context(),
        )
