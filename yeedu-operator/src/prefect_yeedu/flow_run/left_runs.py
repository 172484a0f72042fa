"""Stop the remote runs that a flow run left behind: ``python -m prefect_yeedu.flow_run.left_runs FLOW_RUN``.

A flow run that is cancelled while nothing is left of its process stops nothing. Whoever finds it calls this:
the artifacts of the flow run name the remote runs, and its parameters say how to reach them.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate, LogCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.errors import YeeduConfigurationError, YeeduError
from prefect_yeedu.flow_run.connection import load_connection
from prefect_yeedu.flow_run.run_record import ARTIFACT_PREFIX
from prefect_yeedu.runs.execution import find_api
from prefect_yeedu.runs.starting import RunRequest, make_run
from prefect_yeedu.runs.submission import Outcome
from prefect_yeedu.urls import TargetKind, YeeduURL, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect.client.schemas.objects import Artifact

    from prefect_yeedu.models import RunState

_KINDS = frozenset({TargetKind.JOB, TargetKind.NOTEBOOK})
_INFO, _WARNING = 20, 30


def stop_left_runs(flow_run_id: UUID) -> list[str]:
    """Stop every remote run of a flow run whose end nobody has seen, and say so in the flow run's log.

    Returns:
        What was done, a sentence for each of them.
    """
    with get_client(sync_client=True) as client:
        parameters = client.read_flow_run(flow_run_id).parameters
        done: list[str] = []
        for artifact in left_artifacts(client, flow_run_id):
            run_id = int(str((artifact.metadata_ or {})["run_id"]))
            try:
                state = _stop(run_id, parameters)
                sentence, level = f"Yeedu run {run_id} was left behind, and is over now: {state}.", _INFO
                _note_outcome(client, artifact, state)
            except YeeduError as error:
                page = (artifact.metadata_ or {}).get("url", "")
                sentence = f"Yeedu run {run_id} was left behind and cannot be stopped; see {page} ({error})"
                level = _WARNING
            done.append(sentence)
            entry = LogCreate.model_validate(
                {
                    "name": "prefect.yeedu",
                    "level": level,
                    "message": sentence,
                    "timestamp": datetime.now(UTC),
                    "flow_run_id": flow_run_id,
                }
            )
            client.create_logs([entry])
    return done


def left_artifacts(client: SyncPrefectClient, flow_run_id: UUID) -> list[Artifact]:
    """Return the records of a flow run's remote runs whose end was not recorded."""
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(like_=f"{ARTIFACT_PREFIX}%"),
        flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]),
    )
    return [artifact for artifact in client.read_artifacts(artifact_filter=wanted) if is_left(artifact)]


def is_left(artifact: Artifact) -> bool:
    """Tell whether a record names a remote run whose end was not recorded."""
    fields = artifact.metadata_ or {}
    return str(fields.get("run_id", "")).isdigit() and not fields.get("outcome")


def _stop(run_id: int, parameters: Mapping[str, Any]) -> RunState:
    """Stop a remote run unless it has ended; return its state."""
    url = _find_address(parameters)
    access = load_connection(
        parameters.get("connection_block_name", "yeedu_connection_details"),
        parameters.get("login_password_block_name", "yeedu_password"),
        parameters.get("token_block_name"),
    )
    with YeeduClient(access.to(url)) as client:
        run = make_run(find_api(client, url.target, RunRequest()), run_id, RunRequest(), None)
        state = run.look()
        if state is None or not state.is_terminal:
            run.stop()
        return run.state


def _find_address(parameters: Mapping[str, Any]) -> YeeduURL:
    """Return the job's or notebook's address among a flow run's parameters.

    Raises:
        YeeduConfigurationError: None of them is one.
    """
    for value in parameters.values():
        if isinstance(value, str) and "/tenant/" in value:
            url = parse_url(value)
            if url.kind in _KINDS:
                return url
    raise YeeduConfigurationError("none of its parameters is the address of a Yeedu job or notebook")


def _note_outcome(client: SyncPrefectClient, artifact: Artifact, state: RunState) -> None:
    outcome = Outcome.SUCCESS if state.is_success else Outcome.STOPPED
    fields = {**(artifact.metadata_ or {}), "outcome": str(outcome), "state": str(state)}
    client.update_artifact(artifact.id, ArtifactUpdate(metadata_=fields))


def main() -> None:
    """Stop what the flow run of the command line has left behind, and print what was done."""
    for sentence in stop_left_runs(UUID(sys.argv[1])):
        print(sentence)


if __name__ == "__main__":
    main()
