"""Suspends a deployment's flow run while its job runs on Yeedu, so that waiting takes no process and no slot.

The record notes the suspension, and the process leaves with Prefect's own signal. `yeedu-watch` resumes the
flow run once Yeedu shows that the run has ended; the flow then starts over, and each call finds its own run.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import Pause
from prefect.states import Suspended
from prefect.transactions import get_transaction

from prefect_yeedu.errors import YeeduPrefectError, YeeduPrefectUnavailable
from prefect_yeedu.flow_run.call_stack import is_called_by_the_flow, outward
from prefect_yeedu.flow_run.prefect_server import ask_prefect, retry_within
from prefect_yeedu.retry_policy import ONCE
from prefect_yeedu.urls import TargetKind

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from prefect_yeedu.retry_policy import RetryPolicy
    from prefect_yeedu.runs.remote_run import RemoteRun

RETRIES = retry_within(20.0)
# At the end of a run the call cannot go on before it knows whether the flow run is still this process's.
END_RETRIES = retry_within(600.0)
# A flow run in one of these states has left this process: it will be, or is being, started again.
_LEFT = {StateType.PAUSED, StateType.SCHEDULED, StateType.PENDING}
_OURS = {StateType.RUNNING, StateType.CANCELLING}


class Deferral:
    """Suspends the flow run that waits for a job, if possible; otherwise logs once why not.

    Args:
        logger: Where to log it.
        kind: What is called.
        has_clusters: Whether fallback clusters are tried, to which only the waiting call can move the job.
        has_blocks: Whether blocks hold the login, so that another process can poll the run.
    """

    def __init__(
        self,
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
        kind: TargetKind,
        *,
        has_clusters: bool,
        has_blocks: bool,
    ) -> None:
        self._logger = logger
        self._kind = kind
        self._has_clusters = has_clusters
        self._has_blocks = has_blocks
        self._is_refused = False
        self._key = ""  # of the suspension that was requested
        self._logged: set[int] = set()
        if kind is TargetKind.NOTEBOOK:
            self._refuse("this process executes a notebook's cells")

    def leave(self, run: RemoteRun, seconds_left: float | None) -> BaseException | None:
        """Suspend the flow run and return the signal to leave with; None if the call has to wait itself.

        Args:
            run: The run.
            seconds_left: What is left of its budget; None for no budget, 0 once that or the run is over.

        Raises:
            YeeduPrefectUnavailable: At the end, if the server that was asked to suspend it stayed away.
        """
        if self._is_refused:
            return None
        if seconds_left == 0:
            return self._leave_at_end()
        flow_context = FlowRunContext.get()
        flow_run = flow_context.flow_run if flow_context is not None else None
        reason = self._find_reason(flow_run)
        if flow_context is None or flow_run is None or reason:
            return self._refuse(reason)
        try:
            if self._key:
                return self._way_out(flow_run, ONCE) or self._suspend(run, flow_run, ONCE)
            if _is_beside_submitted_tasks(flow_context):
                return self._put_off()
            self._key = run.ledger.note_deferred(
                time.time() + seconds_left if seconds_left is not None else None
            )
            if not self._key:
                return self._refuse("that could not be recorded")
            return self._suspend(run, flow_run, RETRIES)
        except YeeduPrefectUnavailable as error:
            self._log_once(
                logging.WARNING, f"{error} It may have done so; it is asked at each poll of the run."
            )
            return None

    def _leave_at_end(self) -> BaseException | None:
        flow_context = FlowRunContext.get()
        if not self._key or flow_context is None or flow_context.flow_run is None:
            return None
        return self._way_out(flow_context.flow_run, END_RETRIES)

    def _find_reason(self, flow_run: FlowRun | None) -> str:
        """Return why the flow run cannot be suspended here; empty if it can."""
        reasons = {
            "the address is a run's own, of which no record is kept": self._kind is not TargetKind.JOB,
            "it tries cluster_ids, to which it has to move the job itself": self._has_clusters,
            "no block holds its credentials, so that nobody else can look at the run": not self._has_blocks,
            "Prefect cannot suspend a subflow": flow_run is not None and bool(flow_run.parent_task_run_id),
            "nobody would start it again: its flow run is not one of a deployment": (
                flow_run is None or flow_run.deployment_id is None
            ),
            "other work goes on beside it: it is made in a submitted task, a thread, gather or create_task": (
                not is_called_by_the_flow()
            ),
            "it is made in a transaction, which suspending would roll back": _is_in_a_transaction(),
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def _suspend(self, run: RemoteRun, flow_run: FlowRun, retries: RetryPolicy) -> BaseException | None:
        try:
            answer = ask_prefect(
                lambda client: client.set_flow_run_state(flow_run.id, Suspended(pause_key=self._key)),
                "to suspend this flow run",
                retries,
            )
        except YeeduPrefectUnavailable:
            raise
        except YeeduPrefectError as error:
            return self._refuse(str(error).removesuffix("."))
        if answer.state is None or answer.state.type not in _LEFT:
            # Prefect also refuses if it was suspended before and already goes on elsewhere.
            reason = getattr(answer.details, "reason", "") or "Prefect does not suspend it"
            return self._way_out(flow_run, retries) or self._refuse(reason)
        self._logger.info(
            "Run %d goes on without this process: the flow run is suspended, and goes on when the run has "
            "ended; see %s.",
            run.run_id,
            run.url,
        )
        return Pause(state=answer.state)

    def _way_out(self, flow_run: FlowRun, retries: RetryPolicy) -> BaseException | None:
        """Return the signal to leave with if the suspension took place; None if it did not.

        Raises:
            YeeduPrefectUnavailable: The Prefect server cannot be reached.
        """
        try:
            found = ask_prefect(
                lambda client: client.read_flow_run(flow_run.id),
                "whether this flow run is suspended",
                retries,
            )
        except YeeduPrefectUnavailable:
            raise
        except YeeduPrefectError:
            return None
        is_ours = found.state is not None and found.state.type in _OURS
        if is_ours and self._key not in (found.empirical_policy.pause_keys or ()):  # kept by the server
            return None
        self._logger.info("This flow run was suspended, and goes on without this process.")
        return Pause(state=found.state)

    def _put_off(self) -> None:
        """Log that the call waits for now."""
        self._log_once(
            logging.INFO,
            "This call waits here while tasks go on that the flow has submitted; once they are done, the "
            "flow run is suspended.",
        )

    def _log_once(self, level: int, text: str) -> None:
        if level not in self._logged:
            self._logger.log(level, "%s", text)
        self._logged.add(level)

    def _refuse(self, reason: str) -> None:
        """Give up the suspension, and log that the call waits in the ordinary way."""
        self._is_refused = True
        self._logger.info("deferrable has no effect on this call (%s); it waits here.", reason.rstrip("."))


def _is_beside_submitted_tasks(context: FlowRunContext) -> bool:
    """Return whether submitted tasks may still be running, which would outlive the flow run in this process.

    Prefect's thread task runner counts them; any other runner is assumed to have some.
    """
    return getattr(context.task_runner, "_active_submission_count", 1) > 0


def _is_in_a_transaction() -> bool:
    """Return whether the flow's code has opened a transaction, besides the one that every task has."""
    tasks = {context.task_run.id for context in outward(TaskRunContext.get())}
    transactions, transaction = 0, get_transaction()
    while transaction is not None:
        transactions, transaction = transactions + 1, transaction.get_parent()
    return transactions > len(tasks)
