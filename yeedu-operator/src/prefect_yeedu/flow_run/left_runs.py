"""Stops the orphaned remote runs of a flow run: ``yeedu-left-runs FLOW_RUN``.

A flow run that is cancelled when its process is already gone cannot stop its remote runs; this does. The
artifacts of the flow run and of its subflows say which remote runs are open, where they are, and which blocks
hold the login to stop them.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterType,
)

from prefect_yeedu.client.api import RunAPI
from prefect_yeedu.client.client import YeeduClient
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.credentials import YeeduCredentials
from prefect_yeedu.errors import (
    YeeduConfigurationError,
    YeeduError,
    YeeduPrefectError,
)
from prefect_yeedu.flow_run.connection import load_connection
from prefect_yeedu.flow_run.prefect_server import (
    FAILURES,
    ask_prefect,
    iterate_artifacts,
    iterate_subflows,
    retry_within,
)
from prefect_yeedu.flow_run.record_fields import BLOCK_FIELDS, Definition, is_left, read_record
from prefect_yeedu.flow_run.run_record import ArtifactLedger
from prefect_yeedu.models import Generation, RunKind
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.start import make_run
from prefect_yeedu.runs.submission import Submission
from prefect_yeedu.runs.wait_options import WaitOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Artifact

    from prefect_yeedu.flow_run.connection import Access

RETRIES = retry_within(30.0)
SUBMIT_SECONDS = WaitOptions().submit_seconds
_INFO, _WARNING = 20, 30


def stop_left_runs(flow_run_id: UUID) -> list[str]:
    """Stop all remote runs of a flow run whose records are still open, and say so in the flow run's log.

    Returns:
        What was done, a sentence for each remote run.

    Raises:
        YeeduPrefectError: The Prefect server does not answer, or does not know the flow run.
        YeeduConfigurationError: The flow run has not ended.
    """
    state = ask_prefect(
        lambda client: client.read_flow_run(flow_run_id).state, f"about flow run {flow_run_id}", RETRIES
    )
    if state is None or not (state.is_final() or state.is_cancelling()):
        raise YeeduConfigurationError(
            f"The flow run {flow_run_id} has not ended, so nothing of it was left behind; cancel it first."
        )
    artifacts = ask_prefect(
        lambda client: left_artifacts(client, flow_run_id), f"for the runs of {flow_run_id}", RETRIES
    )
    done: list[str] = []
    for artifact in artifacts:
        sentence, is_over = _end(artifact)
        done.append(sentence)
        write_log(flow_run_id, sentence, _INFO if is_over else _WARNING)
    return done


def left_artifacts(client: SyncPrefectClient, flow_run_id: UUID) -> list[Artifact]:
    """Return the open records of the remote runs of a flow run and its subflows.

    A deployment's subflow has its own process, which looks after its remote runs until it has ended.
    """
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(like_="yeedu-%"),
        type=ArtifactFilterType(any_=["markdown"]),
        flow_run_id=ArtifactFilterFlowRunId(any_=_with_subflows(client, flow_run_id)),
    )
    return [one for one in iterate_artifacts(client, wanted) if is_left(one.metadata_ or {})]


def _with_subflows(client: SyncPrefectClient, flow_run_id: UUID) -> list[UUID]:
    found, parents = [flow_run_id], [flow_run_id]
    while parents:
        runs = iterate_subflows(client, parents)
        parents = [
            run.id
            for run in runs
            if run.deployment_id is None or (run.state is not None and run.state.is_final())
        ]
        found += parents
    return found


def _end(artifact: Artifact) -> tuple[str, bool]:
    """Stop the run that a record describes; return what to say about it, and whether it is over."""
    fields = artifact.metadata_ or {}
    record = read_record(fields)
    definition = Definition.read(fields)
    name = f"Yeedu run {record.run_id}" if record.run_id else f"A run of {fields.get('kind')}"
    try:
        if definition is None:
            raise YeeduConfigurationError("its record does not say where it is")
        access = load_access(fields)
        connection = Connection(definition.base_url, definition.tenant, access.credentials, access.tls)
        with YeeduClient(connection) as client:
            return _end_on(client, ArtifactLedger.of_artifact(artifact, definition), definition, fields)
    except YeeduError as error:
        page = f"; see {record.url}" if record.url else ""
        return f"{name} was left behind and cannot be stopped{page} ({error})", False


def _end_on(
    client: YeeduClient, ledger: ArtifactLedger, definition: Definition, fields: Mapping[str, str]
) -> tuple[str, bool]:
    api = RunAPI(
        client,
        definition.workspace_id,
        RunKind(definition.kind),
        Generation(fields.get("generation") or Generation.V2),
    )
    record, request = read_record(fields), RunRequest()
    run_id = record.run_id
    if run_id is None:
        submission = Submission(api, definition.id, ledger, record, SUBMIT_SECONDS)
        run_id = submission.search_once()
        if run_id is None:
            ledger.note_refused()
            return f"The run of {definition.title} that was intended was never started.", True
    run = make_run(api, run_id, request, None, ledger)
    if record.run_id is None:
        ledger.note_submitted(run_id, run.url)
    if run.stop():
        return f"Yeedu run {run_id} was left behind, and is over now: {run.state}.", True
    return (
        f"Yeedu run {run_id} was left behind and asked to stop, but nobody has seen it end; see {run.url}.",
        False,
    )


def load_access(fields: Mapping[str, str]) -> Access:
    """Return the login to read and stop a run with, from the blocks that its record names.

    Raises:
        YeeduConfigurationError: It names none, or one of them cannot be used.
        YeeduPrefectError: The Prefect server does not answer.
    """
    connection, password, token, credentials = (fields.get(name) for name in BLOCK_FIELDS)
    if credentials:
        try:
            block = cast("YeeduCredentials", YeeduCredentials.load(credentials, _sync=True))  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
        except FAILURES as error:
            reason = type(error).__name__
        else:
            return block.access()
        raise YeeduConfigurationError(
            f"its block '{credentials}' cannot be read from the Prefect server ({reason})"
        )
    if connection or token:
        return load_connection(connection, password, token)
    raise YeeduConfigurationError(
        "its record names no block with credentials, as they were not stored in one; stop it by hand"
    )


def write_log(flow_run_id: UUID, sentence: str, level: int) -> None:
    """Add a line to a flow run's log.

    Raises:
        YeeduPrefectError: The Prefect server does not answer, or refuses.
    """
    entry = LogCreate.model_validate(
        {
            "name": "prefect.yeedu",
            "level": level,
            "message": sentence,
            "timestamp": datetime.now(UTC),
            "flow_run_id": flow_run_id,
        }
    )
    ask_prefect(lambda client: client.create_logs([entry]), "to log what was done", RETRIES)


def main() -> None:
    """Stop what the flow run on the command line has left behind, and print what was done."""
    parser = argparse.ArgumentParser(
        prog="yeedu-left-runs", description="Stop the Yeedu runs that a flow run left behind."
    )
    parser.add_argument("flow_run", type=UUID, help="the id of a flow run that has ended")
    flow_run_id = parser.parse_args().flow_run
    try:
        done = stop_left_runs(flow_run_id)
    except (YeeduPrefectError, YeeduConfigurationError) as error:
        parser.exit(1, f"{error}\n")
    print("\n".join(done) or "Nothing was left behind.")


if __name__ == "__main__":
    main()
