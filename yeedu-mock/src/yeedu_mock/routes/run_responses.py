"""Shows runs, and lists of them, in the form of each generation; switches hide some, and set the order."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from yeedu_mock.errors import NotFoundError, UnknownIdError
from yeedu_mock.mock import Mock
from yeedu_mock.routes.definitions import by_whom, cluster_info, type_of
from yeedu_mock.state.enums import RunStatus
from yeedu_mock.state.records import (
    Definition,
    JobDefinition,
    NotebookDefinition,
    Run,
    Workspace,
    now,
    type_of_run,
)


def run_v1(mock: Mock, run: Run) -> dict[str, Any]:
    """Return a run in the form of the v1 generation."""
    shown = {
        f"{run.type}_id": run.id,
        f"{run.type}_status": run.status,
        f"{run.type}_conf_id": run.definition_id,
        f"{run.type}_conf_name": run.definition_name,
        "workspace_id": run.workspace_id,
        "cluster_id": run.cluster_id,
        "arguments": run.arguments,
        "conf": run.conf,
        "created_by": run.created_by,
        "created_at": run.created_at.isoformat(),
        "job_execution_time_sec": round(run.duration_seconds, 3),
    }
    return _without_hidden(mock, shown)


def run_v2(mock: Mock, run: Run) -> dict[str, Any]:
    """Return a run in the form of the v2 generation.

    Its definition is in `job_conf` and its arguments are in `runtime_arguments`, where yeedu-mcp-server reads
    them, and both are at the top level as well.
    """
    definition = definition_of(mock, run)
    language = definition.language if definition is not None else None
    job_type = type_of(definition) if definition is not None else None
    of = {
        f"{run.type}_id": run.definition_id,
        f"{run.type}_name": run.definition_name,
        "workspace_id": run.workspace_id,
    }
    shown = {
        "run_id": run.id,
        "run_status": run.status,
        **of,
        "cluster_id": run.cluster_id,
        "arguments": run.arguments,
        "conf": run.conf,
        "job_conf": {
            **of,
            "name": run.definition_name,
            "spark_job_type": {"job_type": job_type, "language": language},
            "cluster_info": cluster_info(mock, run.cluster_id),
        },
        "runtime_arguments": {"arguments": run.arguments, "conf": run.conf},
        "is_background": run.is_background,
        "application_id": run.application_id,
        "exit_code": run.exit_code,
        "created_by": by_whom(mock, run.created_by),
        "modified_by": by_whom(mock, run.created_by),
        "created_at": run.created_at.isoformat(),
        "start_time": run.started_at and run.started_at.isoformat(),
        "end_time": run.ended_at and run.ended_at.isoformat(),
        "execution_time_sec": round(run.duration_seconds, 3),
        "total_run_time_sec": round(((run.ended_at or now()) - run.created_at).total_seconds(), 3),
    }
    return _without_hidden(mock, shown)


def states_of(run: Run) -> list[dict[str, Any]]:
    """Return the states that a run has been in, the oldest first."""
    ends = [state.at.isoformat() for state in run.states[1:]]
    return [
        {"run_id": run.id, "run_status": state.status, "start_time": state.at.isoformat(), "end_time": end}
        for state, end in zip(run.states, [*ends, None], strict=True)
    ]


def counts_by_state(runs: Sequence[Run]) -> dict[str, int]:
    """Return how many runs are in each state, and how many there are in total."""
    states = Counter(str(run.status) for run in runs)
    return {**{state: states[state] for state in RunStatus}, "TOTAL_JOB_COUNT": len(runs)}


def workflow_errors(run: Run) -> dict[str, Any]:
    """Return what went wrong outside the program's own output."""
    return {"data": [{"run_id": run.id, "error": error} for error in run.errors]}


def definition_of(mock: Mock, run: Run) -> Definition | None:
    """Return a run's definition, if it still exists."""
    return mock.store.get(JobDefinition if run.type == "job" else NotebookDefinition, run.definition_id)


def find_run(mock: Mock, workspace: Workspace, kind: type_of_run, identifier: int) -> Run:
    """Return a run of a workspace.

    Raises:
        UnknownIdError: The workspace has no such run.
    """
    for run in mock.store.all(Run):
        if (run.id, run.type, run.workspace_id) == (identifier, kind, workspace.id) and _is_there(mock, run):
            return run
    raise UnknownIdError(f"There is no {kind} run {identifier} in the workspace {workspace.id}.")


def list_runs(
    mock: Mock,
    workspace: Workspace,
    kind: type_of_run,
    is_wanted: Callable[[Run], bool],
    *,
    none_is_an_error: bool,
) -> list[Run]:
    """Return the wanted runs of a workspace, in the order that a switch sets.

    Raises:
        NotFoundError: There is none, and the caller or a switch makes that an error.
    """
    found = [
        run
        for run in mock.store.all(Run)
        if run.type == kind and run.workspace_id == workspace.id and _is_there(mock, run) and is_wanted(run)
    ]
    if mock.control.switches.list_order == "newest_first":
        found.reverse()
    if not found and (none_is_an_error or mock.control.switches.empty_list_status == NotFoundError.status):
        raise NotFoundError(f"No {kind} run was found.")
    return found


def _is_there(mock: Mock, run: Run) -> bool:
    lag = mock.control.switches.replica_lag_seconds
    return not lag or (now() - run.created_at).total_seconds() >= lag


def _without_hidden(mock: Mock, shown: dict[str, Any]) -> dict[str, Any]:
    hidden = {str(name) for name in mock.control.switches.run_fields_hidden}
    if "execution_time_sec" in hidden:
        hidden.add("job_execution_time_sec")
    if nested := shown.get("runtime_arguments"):
        shown["runtime_arguments"] = {key: value for key, value in nested.items() if key not in hidden}
    return {key: value for key, value in shown.items() if key not in hidden}
