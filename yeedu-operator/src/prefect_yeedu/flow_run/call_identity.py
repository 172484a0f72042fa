"""Identifies a call, so that every attempt of its flow run finds the same record.

A call is named by the outermost flow run, the task or subflow that makes it, what it runs, and its position:
all attempts of a flow make their calls in the same order. What it passes does not count, so a call with the
time of day among its arguments finds its run again. Only calls that may run beside the flow's own code come
in any order: those of submitted tasks, even of a single one, and of what an event loop runs as a task
(`asyncio.gather`, `create_task`). These are told apart by what they pass, and must pass the same in each
attempt to find their runs. Tasks in separate processes (ProcessPoolTaskRunner, Dask, Ray) find their runs
only in their own retries.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterTaskRunId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.context import FlowRunContext, TaskRunContext

from prefect_yeedu.flow_run.call_stack import is_called_by_the_flow, outward
from prefect_yeedu.flow_run.prefect_server import ask_prefect, iterate_subflows

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, TaskRun

    from prefect_yeedu.retry_policy import RetryPolicy


@dataclass
class _Counts:
    """How many calls of each kind one attempt of a flow, or a task without a flow, has made so far."""

    numbers: dict[str, int] = field(default_factory=dict[str, int])
    known: dict[str, int] = field(default_factory=dict[str, int])

    def next(self, name: str) -> int:
        """Count a call, and return how many of the same name came before it."""
        number = self.numbers.get(name, 0)
        self.numbers[name] = number + 1
        return number


_counts: dict[int, _Counts] = {}
_counting = threading.Lock()


@dataclass(frozen=True)
class CallIdentity:
    """Where a call is made.

    Attributes:
        name: The call's unique name, the same in every attempt.
        flow_run: The flow run; None in a task without a flow.
        task_run_id: The task run, if the call is made in one.
        calls: The calls that lead from the outermost flow run to this one's, the outermost first.
        root_id: The outermost flow run; None in a task without a flow.
        attempt: The attempts of the flow runs and of the task that make it; a flow run that was suspended
            continues its attempt. Empty in a task without a flow.
    """

    name: str
    flow_run: FlowRun | None
    task_run_id: UUID | None
    root_id: UUID | None = None
    calls: tuple[str, ...] = ()
    attempt: str = ""

    def artifacts(self, client: SyncPrefectClient, key: str) -> tuple[ArtifactFilter, FlowRunFilter | None]:
        """Return filters for the artifacts of a key that may be this call's, from all attempts."""
        keys = ArtifactFilterKey(any_=[key])
        if self.flow_run is not None and self.flow_run.id != self.root_id:
            return ArtifactFilter(key=keys), self._subflows(client)
        if self.flow_run is not None:
            ids = ArtifactFilterFlowRunId(any_=[self.flow_run.id])
            return ArtifactFilter(key=keys, flow_run_id=ids), None
        tasks = ArtifactFilterTaskRunId(any_=[self.task_run_id] if self.task_run_id is not None else [])
        return ArtifactFilter(key=keys, task_run_id=tasks), None

    def _subflows(self, client: SyncPrefectClient) -> FlowRunFilter:
        """Return a filter for the subflows at this call's depth, among which are its earlier attempts."""
        above = [self.root_id] if self.root_id is not None else []
        for _ in self.calls[1:]:
            above = [run.id for run in iterate_subflows(client, above)]
        return FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=above))


def identify_call(target: str, passed: str, retries: RetryPolicy) -> CallIdentity | None:
    """Return the identity of the call being made; None outside of flow and task runs.

    Args:
        target: What it runs.
        passed: What it passes.
        retries: The retry policy for asking the Prefect server for a subflow's parents.

    Raises:
        YeeduPrefectError: The Prefect server cannot say.
    """
    flow_context, task_context = FlowRunContext.get(), TaskRunContext.get()
    flow_run = flow_context.flow_run if flow_context is not None else None
    task_run = task_context.task_run if task_context is not None else None
    context = flow_context if flow_run is not None else task_context
    if context is None or (flow_run is None and task_run is None):
        return None
    place, whole = _place(context, task_run), f"{target}|{passed}"
    what = target if is_called_by_the_flow() else whole
    position = _position(context, place, task_run, what)
    root_id, calls, attempts = None, (), list[int]()
    if flow_run is not None:
        root_id, parents, attempts = _read_parents(flow_run, retries)
        calls = tuple(_name_subflow(parent, whole) for parent in parents)
    task = str(task_run.id) if task_run is not None else ""
    root = "|".join([str(root_id), *reversed(calls)]) if root_id is not None else task
    name = hashlib.sha256(f"{root}|{place}|{position}|{what}".encode()).hexdigest()[:24]
    if attempts and task_run is not None:
        attempts.append(task_run.run_count)
    return CallIdentity(
        name,
        flow_run,
        task_run.id if task_run is not None else None,
        root_id=root_id,
        calls=calls,
        attempt=".".join(map(str, attempts)),
    )


def _place(context: FlowRunContext | TaskRunContext, task_run: TaskRun | None) -> str:
    """Return a name for the task that makes a call; the same in every attempt, if possible.

    A task runner with processes gives each task its own context, so that equal tasks cannot be counted. There
    the name is the task run's id, which is the same in the task's retries, but not in the flow's.
    """
    if task_run is None:
        return ""
    is_detached = isinstance(context, FlowRunContext) and context.detached
    return str(task_run.id) if is_detached else task_run.task_key


def _position(
    context: FlowRunContext | TaskRunContext,
    place: str,
    task_run: TaskRun | None,
    what: str,
    caller: UUID | None = None,
) -> int:
    """Return the position of this call among equal ones, the same in every attempt.

    Counting begins with each attempt of a flow, which has its own context. The ids of task runs change
    between a flow's attempts, but not between the attempts of one task.

    Args:
        context: The flow run, or the task run without one, that makes the call.
        place: Names the task that makes it.
        task_run: That task's run.
        what: What is called.
        caller: The task run whose calls all have one position; None if each call has its own.
    """
    task = str(task_run.id) if task_run is not None else ""
    attempt = f"{task}|{task_run.run_count}" if task_run is not None else ""
    with _counting:
        if id(context) not in _counts:
            _counts[id(context)] = _Counts()
            weakref.finalize(context, _counts.pop, id(context), None)
        counts = _counts[id(context)]
        if caller is not None and f"{caller}|{what}" in counts.known:
            return counts.known[f"{caller}|{what}"]
        position = within_attempt = counts.next(f"{attempt}|{what}")
        if task and not isinstance(context, TaskRunContext):
            known = f"{task}|{within_attempt}|{what}"
            if known not in counts.known:
                counts.known[known] = counts.next(f"in {place}|{what}")
            position = counts.known[known]
        if caller is not None:
            counts.known[f"{caller}|{what}"] = position
        return position


def _name_subflow(parent: TaskRun, what: str) -> str:
    """Return a name for a subflow's call, the same in every attempt of the flow that calls it.

    Prefect numbers the calls that the flow itself makes. Those that its tasks make have random keys, and are
    told apart by the task and by what the subflow runs.

    Args:
        parent: The task run that represents the subflow in the flow that calls it.
        what: What the subflow runs, and what it passes.
    """
    by_prefect = f"{parent.task_key}|{parent.dynamic_key}"
    if parent.dynamic_key.isdigit():
        return by_prefect
    flows, tasks = outward(FlowRunContext.get()), outward(TaskRunContext.get())
    context = next((at for at in flows if at.flow_run and at.flow_run.id == parent.flow_run_id), None)
    task_run = next((at.task_run for at in tasks if at.task_run.flow_run_id == parent.flow_run_id), None)
    if context is None or task_run is None:  # called in another process
        return by_prefect
    place, call = _place(context, task_run), f"{parent.task_key}|{what}"
    return f"{call}|in {place}|{_position(context, place, task_run, call, caller=parent.id)}"


def _read_parents(flow_run: FlowRun, retries: RetryPolicy) -> tuple[UUID, tuple[TaskRun, ...], list[int]]:
    """Return the outermost flow run, the calls that lead from it to a flow run, and the flow runs' attempts.

    Each call is given as its task run. A retried parent starts its subflows as new flow runs; only the place
    of the call stays the same.
    """

    def read(client: SyncPrefectClient) -> tuple[UUID, tuple[TaskRun, ...], list[int]]:
        calls: list[TaskRun] = []
        attempts = [flow_run.run_count]
        inner = flow_run
        while inner.parent_task_run_id is not None:
            call = client.read_task_run(inner.parent_task_run_id)
            calls.insert(0, call)
            if call.flow_run_id is None:
                break
            inner = client.read_flow_run(call.flow_run_id)
            attempts.insert(0, inner.run_count)
        return inner.id, tuple(calls), attempts

    if flow_run.parent_task_run_id is None:
        return flow_run.id, (), [flow_run.run_count]
    return ask_prefect(read, "for the parents of this flow run", retries)
