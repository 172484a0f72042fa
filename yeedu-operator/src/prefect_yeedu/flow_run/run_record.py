"""Keeps the record of a remote run in an artifact, so that the next attempt finds it, and users see it.

All runs of a job or notebook share one artifact key; each call of a flow run is one version of it.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.utilities.urls import url_for

from prefect_yeedu.errors import YeeduPrefectError
from prefect_yeedu.flow_run.call_identity import CallIdentity, identify_call
from prefect_yeedu.flow_run.cluster_record import ClusterRecord
from prefect_yeedu.flow_run.prefect_server import ask_prefect, iterate_artifacts, retry_within
from prefect_yeedu.flow_run.record_fields import (
    Definition,
    exit_value_fields,
    pause_key,
    read_record,
    write_text,
)
from prefect_yeedu.runs.record import ClusterMove, Ledger, Phase, Record, Resume
from prefect_yeedu.wire.redaction import storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Artifact

    from prefect_yeedu.models import RunState
    from prefect_yeedu.retry_policy import RetryPolicy

logger = logging.getLogger(__name__)

# Before anything is submitted, an unreachable Prefect server is worth a wait, and then an error; once a run
# exists, its record only helps, because the run can be found by its own key.
INTENT_RETRIES = retry_within(60.0)
NOTE_RETRIES = retry_within(20.0)
# Prefect kills a cancelled flow run after 30 seconds; stopping the remote run comes before recording it.
STOP_RETRIES = retry_within(2.0)
STOP_ANSWER_SECONDS = 2.0
FLOW_RUN_NAME = "spark.yeedu.prefect_flow_run_name"
MAX_NAME_CHARACTERS = 200


class ArtifactLedger(Ledger):
    """Records the run of one call in one artifact.

    Args:
        definition: The job or notebook.
        call: The identity of the call.
        passed: A hash of what it passes to the program.
        blocks: Names of the blocks that hold the login, by the name of their field.
    """

    def __init__(
        self,
        definition: Definition,
        call: CallIdentity,
        *,
        passed: str = "",
        blocks: Mapping[str, str] | None = None,
    ) -> None:
        self._definition = definition
        self._call = call
        self._passed = passed
        self._blocks = {name: block for name, block in (blocks or {}).items() if block}
        self._artifact_id: UUID | None = None
        self._fields: dict[str, str] = {}
        self._error = ""
        self._others: tuple[int, ...] = ()
        self._noting = threading.Lock()
        self._flow_run_id = call.flow_run.id if call.flow_run is not None else None
        self._clusters = ClusterRecord(
            definition, call.name, flow_run_id=self._flow_run_id, task_run_id=call.task_run_id
        )

    @classmethod
    def of_this_call(
        cls, definition: Definition, *, passed: str = "", blocks: Mapping[str, str] | None = None
    ) -> Ledger:
        """Return the ledger for the call being made; outside of runs, one that is only in memory.

        Raises:
            YeeduPrefectError: The Prefect server does not say which flow run a subflow belongs to.
        """
        try:
            call = identify_call(repr(definition), passed, INTENT_RETRIES)
        except YeeduPrefectError as error:
            raise _not_recorded(definition, error) from None
        return Ledger() if call is None else cls(definition, call, passed=passed, blocks=blocks)

    @classmethod
    def of_artifact(cls, artifact: Artifact, definition: Definition) -> ArtifactLedger:
        """Return the ledger of an existing record, to continue it from outside of its flow run."""
        fields = dict(artifact.metadata_ or {})
        name = fields.get("key", "").rpartition("-")[0]
        ledger = cls(definition, CallIdentity(name, None, artifact.task_run_id))
        ledger._flow_run_id = artifact.flow_run_id
        ledger._take(artifact)
        return ledger

    @property
    def labels(self) -> tuple[str, ...]:
        """Conf entries for the remote run besides the key: the flow run's name."""
        flow_run = self._call.flow_run
        name = "".join(letter for letter in flow_run.name if letter.isprintable()) if flow_run else ""
        return (f"{FLOW_RUN_NAME}={storable(name)[:MAX_NAME_CHARACTERS]}",) if name.strip() else ()

    def open(self, resume: Resume = Resume.ON_CRASH) -> Record:
        """Record the intent to run something, or return what was recorded before.

        Raises:
            YeeduPrefectError: The Prefect server cannot be reached, or refuses.
        """
        try:
            known = ask_prefect(self._find, f"for the record of {self._definition.title}", INTENT_RETRIES)
            if known is not None:
                # A record that this very ledger wrote before is not a resumed one.
                is_resumed = self._artifact_id is None and self._is_of_this_attempt(known)
                self._take(known)
                record = replace(self._read(is_new=False), is_of_this_attempt=is_resumed)
                if not record.starts_over(resume):
                    return record
                self._others += (record.run_id,) if record.run_id is not None else ()
            self._begin(int(self._fields.get("attempt") or 0) + 1)
            ask_prefect(self._create, f"to record {self._definition.title}", INTENT_RETRIES)
        except YeeduPrefectError as error:
            raise _not_recorded(self._definition, error) from None
        return self._read(is_new=True)

    def note_intended(self) -> Record:
        """Record that Yeedu is about to be asked for the run again.

        Raises:
            YeeduPrefectError: The Prefect server cannot be reached, or refuses.
        """
        self._fields |= {"intended_at": str(time.time()), "unanswered": ""}
        try:
            ask_prefect(self._update, f"to record {self._definition.title}", INTENT_RETRIES)
        except YeeduPrefectError as error:
            raise _not_recorded(self._definition, error) from None
        return self._read(is_new=False)

    def note_refused(self) -> None:
        """Record that Yeedu has certainly started nothing."""
        self._save({"intended_at": ""})

    def note_unanswered(self) -> None:
        """Record that the submission was not answered, so that Yeedu may still be working on it."""
        self._save({"unanswered": "true"})

    def note_submitted(self, run_id: int, url: str) -> None:
        """Record the remote run."""
        self._save({"phase": Phase.SUBMITTED, "run_id": str(run_id), "url": url})

    def note_running(self) -> None:
        """Note that the run was seen running; the next note writes it, as nothing depends on it."""
        with self._noting:
            if self._fields.get("phase") == Phase.SUBMITTED:
                self._fields["phase"] = Phase.RUNNING

    def note_deferred(self, ends_at: float | None) -> str:
        """Record that the flow run is about to be suspended; return the pause's key, empty if that failed."""
        until = f"{ends_at:.3f}" if ends_at is not None else ""
        deferred = {"deferred_at": f"{time.time():.3f}", "deferred_until": until}
        return pause_key(self._artifact_id) if self._blocks and self._save(deferred) else ""

    def note_stopping(self) -> None:
        """Record that Yeedu is about to be asked to stop the run; wait only briefly for the server."""
        self._save({"phase": Phase.STOPPING}, STOP_RETRIES, STOP_ANSWER_SECONDS)

    def note_cells_done(self, exit_value: str | None) -> None:
        """Record that all cells of a notebook have succeeded, before its run is stopped."""
        self._save({"cells_done": "true", **exit_value_fields(exit_value)})

    def note_ended(self, state: RunState) -> None:
        """Record the terminal state that was read; nothing else marks a run as over."""
        self._save({"phase": Phase.ENDED, "state": str(state)})

    def note_error(self, text: str) -> None:
        """Show what is wrong to readers of the record."""
        is_new, self._error = text != self._error, text
        if is_new and self._artifact_id is not None:
            self._write(STOP_RETRIES, STOP_ANSWER_SECONDS)

    def read_move(self) -> ClusterMove | None:
        """Return the move of the definition, by this call or another, that was not undone."""
        return self._clusters.read()

    def note_move(self, own_cluster: int, cluster: int) -> None:
        """Record that the definition is about to be moved."""
        self._clusters.note(own_cluster, cluster)

    def forget_move(self) -> None:
        """Record that the definition is where it belongs."""
        self._clusters.forget()

    def _begin(self, attempt: int) -> None:
        """Set the fields of a new record."""
        self._artifact_id, self._error = None, ""
        self._fields = {
            **self._definition.fields(),
            **self._blocks,
            "generation": self.generation,
            "phase": Phase.INTENDED,
            "key": f"{self._call.name}-{attempt}",
            "attempt": str(attempt),
            "intended_at": str(time.time()),
            "passed": self._passed,
            "made_in": self._call.attempt,
        }

    def _take(self, artifact: Artifact) -> None:
        """Continue an existing record."""
        self._artifact_id, self._fields = artifact.id, dict(artifact.metadata_ or {})
        if self._passed and self._fields.get("passed") not in {None, self._passed}:
            logger.warning(
                "An earlier attempt gave %s other arguments or conf; what it started counts.",
                self._definition.title,
            )

    def _is_of_this_attempt(self, known: Artifact) -> bool:
        return bool(self._call.attempt) and (known.metadata_ or {}).get("made_in") == self._call.attempt

    def _read(self, *, is_new: bool) -> Record:
        return replace(read_record(self._fields, is_new=is_new), others=self._others)

    def _save(
        self,
        fields: Mapping[str, str],
        retries: RetryPolicy = NOTE_RETRIES,
        answer_seconds: float | None = None,
    ) -> bool:
        with self._noting:
            if self._artifact_id is None or self._fields.get("phase") == Phase.ENDED:
                return False
            self._fields |= fields
            return self._write(retries, answer_seconds)

    def _write(self, retries: RetryPolicy, answer_seconds: float | None = None) -> bool:
        what = f"to record {self._definition.title}"
        try:
            ask_prefect(self._update, what, retries, answer_seconds=answer_seconds)
        except YeeduPrefectError as error:
            logger.warning("%s", error)
            return False
        return True

    def _find(self, client: SyncPrefectClient) -> Artifact | None:
        """Return the newest record of this call, and remember the runs that other calls have recorded."""
        found: Artifact | None = None
        others: set[int] = set()
        for artifact in iterate_artifacts(client, *self._call.artifacts(client, self._definition.key)):
            fields = artifact.metadata_ or {}
            is_ours = fields.get("key", "").rpartition("-")[0] == self._call.name
            if is_ours and found is None:
                found = artifact
            elif fields.get("run_id", "").isdigit():
                others.add(int(fields["run_id"]))
        self._others = tuple(others)
        return found

    def _create(self, client: SyncPrefectClient) -> None:
        artifact = client.create_artifact(
            ArtifactCreate(
                key=self._definition.key,
                type="markdown",
                description=f"Runs of {self._definition.title}.",
                data=self._text(),
                metadata_=self._fields,
                flow_run_id=self._flow_run_id,
                task_run_id=self._call.task_run_id,
            )
        )
        self._artifact_id = artifact.id

    def _update(self, client: SyncPrefectClient) -> None:
        assert self._artifact_id is not None  # noqa: S101 - its callers have checked
        client.update_artifact(self._artifact_id, ArtifactUpdate(data=self._text(), metadata_=self._fields))

    def _text(self) -> str:
        page = url_for("flow-run", obj_id=self._flow_run_id) if self._flow_run_id is not None else None
        return write_text(self._definition.title, self._fields, flow_run_page=page or "", error=self._error)


def _not_recorded(definition: Definition, error: YeeduPrefectError) -> YeeduPrefectError:
    return type(error)(
        f"The intent to run {definition.title} cannot be recorded on the Prefect server, so it was not "
        f"submitted. {error}"
    )
