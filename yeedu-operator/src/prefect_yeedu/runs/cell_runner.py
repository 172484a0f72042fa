"""Execute a notebook's cells one after the other, through lost connections, and never wait for ever."""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect_yeedu.client.kernel_channel import KernelChannel
from prefect_yeedu.errors import (
    YeeduError,
    YeeduKernelDied,
    YeeduKernelError,
    YeeduNotFound,
    YeeduTransportError,
)
from prefect_yeedu.patience import ONCE, Deadline, PollSchedule
from prefect_yeedu.wire.answers import object_of, text_of
from prefect_yeedu.wire.kernel_protocol import Execution, execute_request, parse_message

if TYPE_CHECKING:
    from prefect_yeedu.runs.remote_run import RemoteRun
    from prefect_yeedu.wire.notebook_document import Cell

logger = logging.getLogger(__name__)

RECEIVE_SECONDS = 1.0
RECONNECT_SECONDS = 120.0
# How long one half of "reply and idle" is waited for after the other half has come.
HALF_SECONDS = 5.0
# Each look at run and kernel is two calls; the websocket tells most things sooner.
MAX_WATCH_SECONDS = 24.0
MAX_TRIES = 5
PROBE_AGAIN_SECONDS = 0.2
LASTING_SECONDS = 60.0
DEAD_KERNEL_STATES = frozenset({"dead", "restarting", "autorestarting", "terminating"})

# Asks an IPython kernel how its last counted execution ended. It is silent, so it is not counted itself; it
# notes its finding, because IPython forgets it as soon as anything else is executed.
PROBE = """print(__import__("json").dumps((lambda ip: ip.__dict__.setdefault("_yeedu_ends", {}).setdefault(
    ip.execution_count, (lambda end, ok: [ip.execution_count, ok] + ([] if ok else (lambda error: [
        type(error).__name__, str(error)])(end and (end.error_in_exec or end.error_before_exec))))(
    ip.last_execution_result, ip.last_execution_succeeded)))(get_ipython())))"""


@dataclass(frozen=True)
class Finding:
    """What the kernel says about its past.

    Attributes:
        executed: How many cells it has executed since it started.
        is_ok: Whether the last of them ended well.
        ename: Else the exception's class.
        evalue: And its text.
    """

    executed: int
    is_ok: bool
    ename: str = ""
    evalue: str = ""

    @classmethod
    def parse(cls, text: str) -> Finding | None:
        """Return what the probe printed, or None when it is something else."""
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError):
            return None
        match value:
            case [int(count), True]:
                return cls(count - 1, is_ok=True)
            case [int(count), False, str(ename), str(evalue)]:
                return cls(count - 1, is_ok=False, ename=ename, evalue=evalue)
            case _:
                return None

    def fill(self, execution: Execution) -> None:
        """Finish an execution whose reply was missed."""
        execution.status = "ok" if self.is_ok else "error"
        execution.ename, execution.evalue = self.ename, self.evalue
        execution.is_idle = True


class CellRunner:
    """Talks to the kernel of one notebook run.

    Cells are sent one at a time: after a lost connection there is only one whose end may have been missed,
    and the kernel's own counter tells whether it was executed.

    Args:
        run: The notebook's run.
        deadline: End of the run's budget.
    """

    def __init__(self, run: RemoteRun, deadline: Deadline) -> None:
        self._run = run
        self._deadline = deadline
        self._kernel_path = run.api.path(run.api.routes.kernel, run=run.run_id)
        self._channel = KernelChannel(run.api.client, self._kernel_path)
        self._session_id = str(uuid.uuid4())
        self._executed = 0
        self._watch = PollSchedule(run.clock, min_seconds=1.0, max_seconds=MAX_WATCH_SECONDS)
        self._look_at = run.clock.now() + self._watch.min_seconds

    def open(self) -> None:
        """Open the connection to the kernel."""
        self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def execute(self, cell: Cell) -> Execution:
        """Execute a cell and return what came of it, finished.

        Raises:
            YeeduKernelDied: The kernel died, or stayed out of reach.
            YeeduKernelError: Whether the cell succeeded cannot be found out.
            YeeduRunError: The run was ended from outside, or its budget is spent.
        """
        for _ in range(MAX_TRIES):
            execution = Execution(cell.id)
            if self._send_and_follow(execution, cell) or self._resolve(execution, cell.index):
                self._executed = execution.execution_count or self._executed + 1
                return execution
        raise self._died(f"cell {cell.index} could not be sent to it in {MAX_TRIES} tries")

    def ask_kernel(self) -> Finding:
        """Return what the kernel has executed so far, waiting for what it is executing.

        Raises:
            YeeduKernelError: The kernel cannot say; only IPython kernels can.
        """
        finding = self._probe(None, 0)
        self._executed = finding.executed
        return finding

    def _send_and_follow(self, execution: Execution, cell: Cell) -> bool:
        """Execute a cell over the present connection; return False when that was lost on the way."""
        try:
            self._channel.send(execute_request(cell.code, message_id=cell.id, session_id=self._session_id))
            self._receive_until_finished(execution, cell.index)
        except YeeduTransportError as error:
            self._reconnect(error)
            return False
        return True

    def _resolve(self, execution: Execution, index: int) -> bool:
        """Find out what became of a cell after a lost connection; return False if the kernel never got it."""
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
            raise self._died("it was restarted, and with it all variables are gone")
        return False

    def _probe(self, execution: Execution | None, index: int) -> Finding:
        """Ask the kernel for its counter and its last end; it answers when it is done with what it does.

        Asking does not change the answer, so it is asked again when the answer, or a part of it, was lost.
        Connections that had lasted are not counted: a long cell may outlive many.
        """
        clock, tries = self._run.clock, 0
        while tries < MAX_TRIES:
            clock.sleep(self._deadline.limit(PROBE_AGAIN_SECONDS * tries**2))
            asked_at, tries = clock.now(), tries + 1
            probe = Execution(str(uuid.uuid4()))
            request = execute_request(
                PROBE, message_id=probe.message_id, session_id=self._session_id, is_silent=True
            )
            try:
                self._channel.send(request)
                self._receive_until_finished(probe, index, also=execution)
            except YeeduTransportError as error:
                if clock.now() - asked_at > LASTING_SECONDS:
                    tries = 0
                self._reconnect(error)
                continue
            finding = Finding.parse("".join(output.text for output in probe.outputs))
            if finding is None and execution is not None and execution.status is not None:
                finding = Finding(self._executed, is_ok=True)  # the reply came after all and says it itself
            if finding is not None:
                return finding
            if probe.status == "error":
                break  # not an IPython kernel
        raise YeeduKernelError(
            f"The connection to the kernel of run {self._run.run_id} was lost, and the kernel cannot say "
            f"what it has executed; see {self._run.url}.",
            **self._run.context(),
        )

    def _receive_until_finished(
        self, target: Execution, index: int, *, also: Execution | None = None
    ) -> None:
        """Receive until a request is finished, looking after run and kernel meanwhile."""
        clock = self._run.clock
        heard_at = clock.now()
        while not target.is_finished:
            text = self._channel.receive(self._deadline.limit(RECEIVE_SECONDS))
            now = clock.now()
            if text is not None:
                heard_at = now
                self._take(text, index, target, also)
            elif now - heard_at > HALF_SECONDS and target.status is not None:
                target.is_idle = True  # the reply is what counts
            elif now - heard_at > HALF_SECONDS and target.is_idle:
                raise YeeduTransportError("The kernel is done with a cell whose reply did not come.")
            self._run.ensure_wanted(self._deadline)
            if now >= self._look_at:
                self._look_after_kernel()
                self._look_at = clock.now() + self._watch.next_wait_seconds()

    def _take(self, text: str, index: int, target: Execution, also: Execution | None) -> None:
        message = parse_message(text)
        if message is None:
            logger.debug("The kernel's websocket carried something that is not a message.")
            return
        kernel_state = text_of(message.content, "execution_state") if message.kind == "status" else None
        if kernel_state in DEAD_KERNEL_STATES:
            raise self._died(f"it says that it is {kernel_state}")
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

    def _look_after_kernel(self) -> None:
        """Raise when the run has ended or its kernel is dead; Yeedu being out of reach is nothing yet."""
        state = self._run.look()
        if state is None:
            return
        if state.is_terminal or state.is_stopped:
            raise self._run.end_error(state)
        try:
            path = f"{self._kernel_path}/status"
            answer = self._run.api.client.get_object(
                path, f"about the kernel of run {self._run.run_id}", patience=ONCE
            )
            status = text_of(object_of(answer, "kernel_info"), "kernel_status")
        except YeeduError:
            return  # not every server has this call; the websocket tells as well
        if status in DEAD_KERNEL_STATES:
            raise self._died(f"Yeedu says that it is {status}")

    def _reconnect(self, error: YeeduTransportError) -> None:
        self._run.listener.on_trouble(f"Connecting to the kernel of run {self._run.run_id} again. {error}")
        self._connect()

    def _connect(self) -> None:
        clock = self._run.clock
        limit = Deadline.after(clock, RECONNECT_SECONDS)
        wait_seconds = 0.1
        while True:
            try:
                self._channel.open()
            except (YeeduTransportError, YeeduNotFound) as error:
                last = str(error)
            else:
                return
            self._look_after_kernel()
            self._run.ensure_wanted(self._deadline)
            if limit.has_passed:
                raise self._died(f"it stayed out of reach for {RECONNECT_SECONDS:g} seconds; {last}")
            clock.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, 5.0)

    def _died(self, reason: str) -> YeeduKernelDied:
        return YeeduKernelDied(
            f"The kernel of run {self._run.run_id} is lost: {reason}; see {self._run.url}.",
            **self._run.context(),
        )
