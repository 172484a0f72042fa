"""Executes a notebook's cells one by one: reconnects when the connection is lost, and never waits forever."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from prefect_yeedu.errors import (
    YeeduError,
    YeeduKernelError,
    YeeduRunTimedOut,
    YeeduTransportError,
)
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.retry_policy import ONCE, Deadline
from prefect_yeedu.runs.kernel_connection import KernelConnection
from prefect_yeedu.runs.kernel_echo import KernelEcho
from prefect_yeedu.runs.kernel_watch import KernelWatch
from prefect_yeedu.wire.cell_outputs import OutputCollector
from prefect_yeedu.wire.kernel_probe import PROBE, Finding
from prefect_yeedu.wire.kernel_protocol import (
    DEAD_KERNEL_STATES,
    Execution,
    execute_request,
    kernel_state,
    parse_message,
)

if TYPE_CHECKING:
    from prefect_yeedu.runs.remote_run import RemoteRun
    from prefect_yeedu.wire.cell_outputs import OutputLimits
    from prefect_yeedu.wire.kernel_protocol import KernelMessage
    from prefect_yeedu.wire.notebook_document import Cell

logger = logging.getLogger(__name__)

RECEIVE_SECONDS = 1.0
# How long to wait for one half of "reply and idle" after the other half has arrived.
HALF_SECONDS = 5.0
MAX_TRIES = 5
PROBE_AGAIN_SECONDS = 0.2
# How long an interrupted cell may take to end.
INTERRUPT_SECONDS = 10.0


class ReplyMissingError(YeeduTransportError):
    """The kernel is done with a request whose reply did not arrive."""


class CellRunner:
    """Talks to the kernel of one notebook run.

    Cells are sent one at a time, so a lost connection can hide the end of only one, and the kernel's own
    counter tells whether that was executed.

    Args:
        run: The notebook's run.
        deadline: End of the run's budget.
        cell_timeout_seconds: How long a single cell may take; None for no limit.
    """

    def __init__(
        self, run: RemoteRun, deadline: Deadline, *, cell_timeout_seconds: float | None = None
    ) -> None:
        self._run = run
        self._deadline = deadline
        self._cell_timeout_seconds = cell_timeout_seconds
        self._kernel_path = run.api.path(run.api.routes.kernel, run=run.run_id)
        self._watch = KernelWatch(run, self._kernel_path, deadline)
        self._connection = KernelConnection(run, self._kernel_path, self._watch)
        self._session_id = str(uuid.uuid4())
        self._executed = 0
        self._cell_deadline = Deadline(run.clock)
        self._interrupted_at: float | None = None

    @property
    def was_interrupted(self) -> bool:
        """Whether the last cell was interrupted because it took too long."""
        return self._interrupted_at is not None

    def open(self) -> None:
        """Open the connection to the kernel.

        Raises:
            YeeduKernelDied: Yeedu answers, but refuses connections.
            YeeduTransportError: Yeedu has been unreachable for too long.
            YeeduRunError: The run was ended from outside, or its budget is spent.
        """
        self._connection.open()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def execute(
        self, cell: Cell, limits: OutputLimits | None = None, *, stops_on_error: bool = True
    ) -> Execution:
        """Execute a cell and return its finished execution.

        Args:
            cell: The cell.
            limits: How much of its outputs is kept.
            stops_on_error: Whether nothing may be executed after it if it fails.

        Raises:
            YeeduKernelDied: The kernel died.
            YeeduKernelError: It cannot be determined whether the cell succeeded.
            YeeduRunError: The run was ended from outside, or its budget, or the cell's, is spent.
            YeeduTransportError: Yeedu has been unreachable for too long; the run goes on.
        """
        self._start_timing()
        for _ in range(MAX_TRIES):
            execution = Execution(cell.id, OutputCollector(limits))
            if self._send_and_follow(execution, cell, stops_on_error=stops_on_error) or self._resolve(
                execution, cell.index
            ):
                self._executed = execution.execution_count or self._executed + 1
                return execution
        raise YeeduKernelError(
            f"Cell {cell.index} could not be sent to the kernel of run {self._run.run_id} in {MAX_TRIES} "
            f"tries; see {self._run.url}.",
            **self._run.context(),
        )

    def ask_kernel(self) -> Finding:
        """Return what the kernel has executed so far, after waiting until it is idle.

        Raises:
            YeeduKernelError: The kernel cannot say; only IPython kernels can.
        """
        self._start_timing()
        finding = self._probe(None, 0)
        self._executed = finding.executed
        return finding

    def _send_and_follow(self, execution: Execution, cell: Cell, *, stops_on_error: bool) -> bool:
        """Execute a cell over the current connection; return False if that was lost meanwhile."""
        request = execute_request(
            cell.code, message_id=cell.id, session_id=self._session_id, stops_on_error=stops_on_error
        )
        try:
            self._connection.send(request)
            self._receive_until_finished(execution, cell.index)
        except YeeduTransportError as error:
            self._connection.reopen(error)
            return False
        return True

    def _resolve(self, execution: Execution, index: int) -> bool:
        """Find out how a cell ended after a lost connection; return False if the kernel never got it."""
        finding = self._probe(execution, index)
        if execution.status is not None:
            execution.is_idle = True
            return True
        expected = execution.execution_count or self._executed + 1
        if finding.executed >= expected:
            finding.fill(execution)
            execution.execution_count = expected
            self._run.listener.on_trouble(
                f"The connection was lost while cell {index} was executed; how it ended is known, "
                "but some of its outputs may be missing."
            )
            return True
        if finding.executed < self._executed or execution.execution_count is not None:
            raise self._watch.died("it was restarted, and with it all variables are gone")
        return False

    def _probe(self, execution: Execution | None, index: int) -> Finding:
        """Ask the kernel for its counter and how its last execution ended; it answers once it is idle.

        Asking does not change the answer, so it is asked again if the answer, or a part of it, was lost. Lost
        connections do not count as tries: a long cell may outlive many.
        """
        clock, tries = self._run.clock, 0
        while tries < MAX_TRIES:
            clock.sleep(self._deadline.limit(PROBE_AGAIN_SECONDS * tries**2))
            probe = Execution(str(uuid.uuid4()))
            request = execute_request(
                PROBE, message_id=probe.message_id, session_id=self._session_id, is_silent=True
            )
            try:
                self._connection.send(request)
                self._receive_until_finished(probe, index, also=execution)
            except YeeduTransportError as error:
                tries += isinstance(error, ReplyMissingError)
                self._connection.reopen(error)
                continue
            tries += 1
            finding = Finding.parse("".join(output.text for output in probe.outputs))
            if finding is None and execution is not None and execution.status is not None:
                finding = Finding(self._executed, is_ok=True)  # the reply arrived after all
            if finding is not None:
                return finding
            if probe.status == "error" and probe.ename != "KeyboardInterrupt":
                break  # not an IPython kernel
        raise YeeduKernelError(
            f"The connection to the kernel of run {self._run.run_id} was lost, and the kernel cannot say "
            f"what it has executed; see {self._run.url}.",
            **self._run.context(),
        )

    def _receive_until_finished(
        self, target: Execution, index: int, *, also: Execution | None = None
    ) -> None:
        """Receive until a request is finished, monitoring run and kernel meanwhile."""
        clock = self._run.clock
        heard_at = clock.now()
        echo = KernelEcho(clock, self._connection.send, self._session_id)
        while not target.is_finished:
            text = self._connection.receive(self._deadline.limit(RECEIVE_SECONDS))
            now = clock.now()
            message = parse_message(text) if text is not None else None
            if message is not None:
                heard_at = now
                echo.take(message)
                self._take(message, index, target, also)
                if target.status is not None and echo.shows_all_outputs:
                    target.is_idle = True
            elif text is not None:
                logger.debug("The kernel's websocket carried something that is not a message.")
            elif now - heard_at > HALF_SECONDS and target.status is not None:
                if target.is_busy and not echo.is_sent:  # outputs may be late, or the idle lost
                    echo.send()
                    heard_at = now
                else:
                    if target.is_busy and also is None:
                        self._run.listener.on_trouble(
                            f"Outputs of cell {index} may be missing: the kernel of run {self._run.run_id} "
                            f"replied to it, and said nothing for {2 * HALF_SECONDS:.0f} s then."
                        )
                    target.is_idle = True  # the reply is what counts
            elif echo.shows_loss or (now - heard_at > HALF_SECONDS and target.is_idle):
                raise ReplyMissingError("The kernel is done with a cell whose reply did not come.")
            else:
                echo.send_when_due()
            self._watch.poll_when_due()
            if self._cell_deadline.has_passed and not target.is_finished:
                self._interrupt()
        self._connection.note_progress()

    def _take(self, message: KernelMessage, index: int, target: Execution, also: Execution | None) -> None:
        state = kernel_state(message.content, "execution_state") if message.kind == "status" else ""
        if state in DEAD_KERNEL_STATES:
            self._watch.poll()  # a run that is stopped ends its kernel as well
            raise self._watch.died(f"it says that it is {state}")
        if message.parent_id == target.message_id and also is None:
            output = target.receive(message)
            if output is not None and index:
                self._run.listener.on_output(index, output)
        elif message.parent_id == target.message_id:
            target.receive(message)
        elif also is not None and message.parent_id == also.message_id:
            output = also.receive(message)
            if output is not None:
                self._run.listener.on_output(index, output)

    def _start_timing(self) -> None:
        self._cell_deadline = Deadline.after(self._run.clock, self._cell_timeout_seconds)
        self._interrupted_at = None

    def _interrupt(self) -> None:
        """Interrupt the cell that takes too long; repeat the request until Yeedu accepts it.

        Raises:
            YeeduRunTimedOut: The cell goes on nevertheless.
        """
        run, now = self._run, self._run.clock.now()
        if self._interrupted_at is None:
            try:
                run.api.call(
                    "POST",
                    f"{self._kernel_path}/interrupt",
                    f"to interrupt the kernel of run {run.run_id}",
                    read_seconds=INTERRUPT_SECONDS,
                    retries=ONCE,
                )
            except YeeduError as error:
                if classify(error) is Failure.TRANSIENT:
                    logger.debug("The kernel of run %d could not be interrupted: %s", run.run_id, error)
                    return
                raise YeeduRunTimedOut(
                    f"A cell of run {run.run_id} did not end within {self._cell_timeout_seconds:g} seconds "
                    f"(cell_timeout_seconds), and could not be interrupted: {error}",
                    **run.context(),
                ) from None
            self._interrupted_at = now
        elif now - self._interrupted_at > INTERRUPT_SECONDS:
            raise YeeduRunTimedOut(
                f"A cell of run {run.run_id} did not end within {self._cell_timeout_seconds:g} seconds "
                f"(cell_timeout_seconds), and went on after it was interrupted; see {run.url}.",
                **run.context(),
            )
