"""Runs a notebook's cells in order, from the first or from where an earlier attempt stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_yeedu.errors import YeeduCellFailed, YeeduError, YeeduKernelError
from prefect_yeedu.models import Generation
from prefect_yeedu.retry_policy import ONCE, RetryPolicy
from prefect_yeedu.runs.saved_outputs import fitting, is_whole, restore_result, result_of, save_result
from prefect_yeedu.wire.cell_outputs import OutputLimits
from prefect_yeedu.wire.kernel_protocol import CLEAN_EXIT, Execution
from prefect_yeedu.wire.notebook_parameters import INJECTED_TAG

if TYPE_CHECKING:
    from prefect_yeedu.models import CellResult
    from prefect_yeedu.runs.cell_options import CellOptions
    from prefect_yeedu.runs.cell_runner import CellRunner
    from prefect_yeedu.runs.remote_run import RemoteRun
    from prefect_yeedu.wire.kernel_probe import Finding
    from prefect_yeedu.wire.notebook_document import Cell, NotebookDocument

# Saving after each cell would cost a quick notebook more than its cells; at the end it is always saved.
SAVE_SECONDS = 10.0
# A process that is being ended has little time; the outputs are worth some of it, but not all.
LAST_SAVE_SECONDS = 5.0


class CellSequence:
    """Executes the cells of one notebook run and saves their results in Yeedu.

    Args:
        run: The notebook's run.
        document: The notebook.
        definition_id: The notebook's id.
        options: How the cells are to be executed.
    """

    def __init__(
        self, run: RemoteRun, document: NotebookDocument, definition_id: int, options: CellOptions
    ) -> None:
        self._run = run
        self._document = document
        self._definition_id = definition_id
        self._options = options
        self._results: list[CellResult] = []
        self._characters = 0
        self._saved_at = run.clock.now()
        self._is_saved = True
        self.exit_value: str | None = None

    def execute(self, runner: CellRunner, *, is_resumed: bool = False) -> tuple[CellResult, ...]:
        """Execute the cells that have not been executed yet and return the results of all.

        Args:
            runner: Talks to the run's kernel.
            is_resumed: Whether another attempt may have executed some of the cells on this kernel already.

        Raises:
            YeeduCellFailed: A cell raised, in this attempt or an earlier one; those after it were not sent.
            YeeduKernelError: The kernel is lost, or cannot say what it has executed.
        """
        finding = self._ask_for_past(runner) if is_resumed else None
        done = finding.executed if finding is not None else 0
        position = 0
        for cell in self._document.cells:
            if not cell.is_executable or self.exit_value is not None:
                self._keep(cell, result_of(cell, "skipped"))
                continue
            position += 1
            if position > done:
                self._execute(cell, runner)
            else:
                self._take_over(cell, runner, finding if position == done else None)
        return tuple(self._results)

    def restore(self) -> tuple[CellResult, ...]:
        """Return the saved results of a notebook whose cells an earlier attempt has executed to the end."""
        run, document = self._run, self._document
        pairs = list(zip(document.cells, document.raw_cells, strict=True))
        saved = [restore_result(cell, raw, run.run_id) for cell, raw in pairs]
        is_complete = all(
            is_whole(raw) if result is not None else not cell.is_executable
            for result, (cell, raw) in zip(saved, pairs, strict=True)
        )
        if not is_complete:
            run.listener.on_trouble(
                f"The cells of run {run.run_id} have all succeeded, but Yeedu does not have all of their "
                f"outputs, so that this result lacks them; see {run.url}."
            )
        return tuple(
            result or result_of(cell, "ok" if cell.is_executable else "skipped")
            for result, cell in zip(saved, document.cells, strict=True)
        )

    def save(self, *, is_last_chance: bool = False) -> None:
        """Save the notebook with its results in Yeedu; only report a failure to do so.

        Args:
            is_last_chance: Whether somebody is waiting for the end, so that there is no time to try again.
        """
        run, api = self._run, self._run.api
        if self._is_saved or not run.options.saves_outputs:
            return
        self._saved_at, self._is_saved = run.clock.now(), True
        is_v2 = api.generation is Generation.V2
        content = fitting(self._document.content(is_copy=is_v2))
        path = api.path(api.routes.update, run=run.run_id, definition=self._definition_id)
        try:
            api.call(
                "POST",
                path,
                f"to save the outputs of run {run.run_id}",
                params={"run_id": run.run_id} if is_v2 else None,
                json={"cells": content["cells"]} if self._document.is_first_form else content,
                read_seconds=LAST_SAVE_SECONDS if is_last_chance else None,
                retries=ONCE if is_last_chance else RetryPolicy(attempts=2),
            )
        except YeeduError as error:
            run.listener.on_trouble(f"The outputs could not be saved in Yeedu's notebook: {error}")

    def _ask_for_past(self, runner: CellRunner) -> Finding:
        """Return how many cells an earlier attempt executed, and how the last one ended."""
        finding = runner.ask_kernel()
        done = finding.executed
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
        return finding

    def _take_over(self, cell: Cell, runner: CellRunner, finding: Finding | None) -> None:
        """Add the saved result of a cell that an earlier attempt executed.

        The kernel knows how the last of them ended; those before it have not ended the notebook.
        """
        saved = restore_result(cell, self._document.raw_cells[cell.index - 1], self._run.run_id)
        execution = Execution(cell.id, status="ok", is_idle=True)
        if finding is not None:
            finding.fill(execution)
        elif saved is not None and saved.status == "error":
            execution.status = "error"
        if saved is None:
            self._conclude(cell, execution, result_of(cell, self._status(execution)), runner)
        else:
            self._conclude(cell, execution, saved, runner)

    def _execute(self, cell: Cell, runner: CellRunner) -> None:
        self._run.listener.on_cell_started(cell.index, len(self._document.cells))
        started_at = self._run.clock.now()
        execution = runner.execute(cell, self._limits(), stops_on_error=not self._may_raise(cell))
        self._characters += execution.collected.characters
        is_exit = self._status(execution) == "exit"
        outputs = tuple(one for one in execution.outputs if not (is_exit and one.kind == "error"))
        duration = self._run.clock.now() - started_at
        result = result_of(cell, self._status(execution), outputs, duration, execution.execution_count)
        self._conclude(cell, execution, result, runner)

    def _conclude(self, cell: Cell, execution: Execution, result: CellResult, runner: CellRunner) -> None:
        self._keep(cell, result)
        self._run.listener.on_cell_finished(result)
        if self._status(execution) == "exit":
            self.exit_value = execution.evalue
        elif execution.status == "aborted" or (execution.status != "ok" and not self._may_raise(cell)):
            raise self._error(cell, execution, was_interrupted=runner.was_interrupted)
        is_due = self._run.clock.now() - self._saved_at > SAVE_SECONDS
        if is_due or INJECTED_TAG in cell.tags:  # a run's parameters are saved at once
            self.save()

    def _keep(self, cell: Cell, result: CellResult) -> None:
        """Keep a result, and put it into the notebook that is saved next."""
        self._results.append(result)
        save_result(
            self._document.raw_cells[cell.index - 1],
            result,
            is_first_form=self._document.is_first_form,
            run_id=self._run.run_id,
            run_by=self._run.api.client.username,
        )
        self._is_saved = self._is_saved and not cell.is_executable

    def _may_raise(self, cell: Cell) -> bool:
        return self._options.allow_errors or cell.may_raise

    @staticmethod
    def _status(execution: Execution) -> str:
        is_exit = execution.status == "error" and execution.ename == CLEAN_EXIT
        return "exit" if is_exit else str(execution.status)

    def _limits(self) -> OutputLimits:
        """Return how much of the next cell's outputs is kept, given what is left for the notebook."""
        options = self._run.options
        left = max(0, options.max_output_characters - self._characters)
        if left < options.max_cell_output_characters:
            what = f"{options.max_output_characters:,} characters of a notebook's outputs"
            name = "max_output_characters"
        else:
            what = (
                f"{options.max_cell_output_characters:,} characters in {options.max_cell_outputs:,} "
                "outputs of a cell"
            )
            name = "max_cell_output_characters, max_cell_outputs"
        return OutputLimits(
            min(left, options.max_cell_output_characters),
            options.max_cell_outputs,
            f"Further outputs are left out: no more than {what} are kept ({name}).",
        )

    def _error(self, cell: Cell, execution: Execution, *, was_interrupted: bool) -> YeeduKernelError:
        run, total = self._run, len(self._document.cells)
        where = f"Cell {cell.index} of {total} of notebook run {run.run_id}"
        if execution.status == "aborted":
            return YeeduKernelError(
                f"{where} was aborted by the kernel before it was executed; see {run.url}.", **run.context()
            )
        evalue = execution.evalue.strip().partition("\n")[0][:500]
        how = f"failed with {execution.ename}: {evalue}"
        if was_interrupted:
            limit = self._options.timeout_seconds
            how = f"did not end within {limit:g} seconds (cell_timeout_seconds) and was interrupted"
        return YeeduCellFailed(
            f"{where} {how}; see {run.url}.",
            cell_index=cell.index,
            ename=execution.ename,
            evalue=execution.evalue,
            traceback=execution.traceback,
            **run.context(),
        )
