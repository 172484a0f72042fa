"""Remember a call's remote run as an artifact of its flow run, so that a retried flow run finds it again."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import FlowRunContext, TaskRunContext

from prefect_yeedu.errors import YeeduConfigurationError
from prefect_yeedu.flow_run.cluster_record import ClusterRecord
from prefect_yeedu.flow_run.prefect_server import FAILURES, patiently
from prefect_yeedu.runs.submission import ClusterMove, Ledger, Outcome, Record

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import Artifact, FlowRun

logger = logging.getLogger(__name__)

# Before anything is submitted an unreachable Prefect server is worth a wait, and then an error; once a run
# exists its record is only a help, because the run's own key can be searched for.
INTENT_SECONDS = 60.0
NOTE_SECONDS = 20.0
MAX_METADATA_CHARACTERS = 500
ARTIFACT_PREFIX = "yeedu-run-"
_counting = threading.Lock()


class ArtifactLedger(Ledger):
    """Records the run of one call in one artifact.

    Args:
        what: Names the job or notebook, its arguments and conf.
        definition: Names the job or notebook alone.
        title: For the artifact's text, such as `Yeedu job 5`.
        flow_run_id: The flow run; None in a task without a flow.
        task_run_id: The task run, where the call is made in one.
        root: Names the flow run, or the task run without a flow, the same in every attempt.
        place: What tells the call apart from others with the same `what`, the same in every attempt.
    """

    def __init__(
        self,
        what: str,
        definition: str,
        title: str,
        *,
        flow_run_id: UUID | None,
        task_run_id: UUID | None,
        root: str,
        place: str,
    ) -> None:
        self._title = title
        self._flow_run_id = flow_run_id
        self._task_run_id = task_run_id
        self._identity = hashlib.sha256(f"{root}|{place}|{what}".encode()).hexdigest()[:24]
        self._artifact_id: UUID | None = None
        self._fields: dict[str, str] = {}
        self._clusters = ClusterRecord(
            definition, title, self._identity, flow_run_id=flow_run_id, task_run_id=task_run_id
        )

    @classmethod
    def of_this_call(cls, what: str, definition: str, title: str) -> Ledger:
        """Return the ledger for a call made here and now; outside of runs one that forgets."""
        flow_context = FlowRunContext.get()
        task_context = TaskRunContext.get()
        flow_run = flow_context.flow_run if flow_context is not None else None
        task_run = task_context.task_run if task_context is not None else None
        if flow_run is None and task_run is None:
            return Ledger()
        place = task_run.task_key if task_run is not None else ""
        task = str(task_run.id) if task_run is not None else ""
        attempt = f"{task}|{task_run.run_count}" if task_run is not None else ""
        position = _position(flow_context, place, task, attempt, what)
        return cls(
            what,
            definition,
            title,
            flow_run_id=flow_run.id if flow_run is not None else None,
            task_run_id=task_run.id if task_run is not None else None,
            root=task if flow_run is None else _root(flow_run, title),
            place=f"{place}|{position}",
        )

    def open(self) -> Record:
        """Record the intent to run something, or return what was recorded before.

        A run whose failure somebody has seen is left alone: a retry is meant to run it again.

        Raises:
            YeeduConfigurationError: The Prefect server cannot be reached.
        """
        try:
            known = patiently(self._read, INTENT_SECONDS)
            if known is not None:
                self._artifact_id, self._fields = known.id, dict(known.metadata_ or {})
                outcome = self._fields.get("outcome")
                if outcome in {None, "", str(Outcome.SUCCESS)}:
                    return self._record(is_new=False)
            attempt = int(self._fields.get("attempt", "0")) + 1
            self._fields = {
                "key": f"{self._identity}-{attempt}",
                "attempt": str(attempt),
                "intended_at": str(time.time()),
            }
            patiently(self._create, INTENT_SECONDS)
        except FAILURES as error:
            failure = _not_recorded(self._title, error)
        else:
            return self._record(is_new=True)
        raise failure

    def note_run(self, run_id: int, url: str) -> None:
        """Record the remote run."""
        self._note(run_id=str(run_id), url=url)

    def note_outcome(self, outcome: Outcome, state: str, *, exit_value: str | None = None) -> None:
        """Record how it ended."""
        extra = {"exit_value": exit_value} if exit_value is not None else {}
        self._note(outcome=str(outcome), state=state, **extra)

    def read_move(self) -> ClusterMove | None:
        """Return where the definition was moved, by this call or another, and not moved back from."""
        return self._clusters.read()

    def note_move(self, own_cluster: int, cluster: int) -> None:
        """Record that the definition is about to be moved."""
        self._clusters.note(own_cluster, cluster)

    def forget_move(self) -> None:
        """Record that it is where it belongs."""
        self._clusters.forget()

    def _record(self, *, is_new: bool) -> Record:
        run_id = self._fields.get("run_id", "")
        outcome = self._fields.get("outcome")
        return Record(
            key=self._fields["key"],
            is_new=is_new,
            run_id=int(run_id) if run_id.isdigit() else None,
            outcome=Outcome(outcome) if outcome else None,
            exit_value=self._fields.get("exit_value"),
            intended_at=float(self._fields.get("intended_at", "0")),
        )

    def _note(self, **fields: str) -> None:
        self._fields |= {name: text[:MAX_METADATA_CHARACTERS] for name, text in fields.items()}
        try:
            patiently(self._update, NOTE_SECONDS)
        except FAILURES as error:
            logger.warning("%s could not be recorded on the Prefect server: %r", self._title, error)

    def _read(self, client: SyncPrefectClient) -> Artifact | None:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[self._artifact_key]))
        found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
        return found[0] if found else None

    def _create(self, client: SyncPrefectClient) -> None:
        artifact = client.create_artifact(
            ArtifactCreate(
                key=self._artifact_key,
                type="markdown",
                description=f"The run of {self._title} that this flow run stands for.",
                data=self._text(),
                metadata_=self._fields,
                flow_run_id=self._flow_run_id,
                task_run_id=self._task_run_id,
            )
        )
        self._artifact_id = artifact.id

    def _update(self, client: SyncPrefectClient) -> None:
        if self._artifact_id is not None:
            client.update_artifact(
                self._artifact_id, ArtifactUpdate(data=self._text(), metadata_=self._fields)
            )

    @property
    def _artifact_key(self) -> str:
        return f"{ARTIFACT_PREFIX}{self._identity}"

    def _text(self) -> str:
        run_id, url = self._fields.get("run_id"), self._fields.get("url")
        run = "is being submitted" if run_id is None else f"is [run {run_id}]({url})"
        end = self._fields.get("state")
        return f"{self._title} {run}." + (f"\n\nIt ended in **{end}**." if end else "")


def _root(flow_run: FlowRun, title: str) -> str:
    """Return what names a flow run and, where it is a subflow, the ones that its parent's retries bring.

    A retried parent starts its subflows as new flow runs; that they are called from the same place is what
    stays. So a subflow is named by the outermost flow run and the calls that lead from there to it.

    Raises:
        YeeduConfigurationError: The Prefect server cannot be reached.
    """

    def read(client: SyncPrefectClient) -> str:
        calls: list[str] = []
        inner = flow_run
        while inner.parent_task_run_id is not None:
            call = client.read_task_run(inner.parent_task_run_id)
            calls.append(f"{call.task_key}|{call.dynamic_key}")
            if call.flow_run_id is None:
                break
            inner = client.read_flow_run(call.flow_run_id)
        return "|".join([str(inner.id), *calls])

    if flow_run.parent_task_run_id is None:
        return str(flow_run.id)
    try:
        return patiently(read, INTENT_SECONDS)
    except FAILURES as error:
        failure = _not_recorded(title, error)
    raise failure


def _not_recorded(title: str, error: Exception) -> YeeduConfigurationError:
    return YeeduConfigurationError(
        f"The intent to run {title} cannot be recorded on the Prefect server ({type(error).__name__}), so it "
        "was not submitted; check PREFECT_API_URL and that the server is up."
    )


def _position(context: FlowRunContext | None, place: str, task: str, attempt: str, what: str) -> int:
    """Return which of the equal calls of this flow run this one is, the same in every attempt.

    A flow's attempts make their calls in the same order, and each has a context of its own, which counts.
    The ids of task runs change between them, but not between the attempts of one task.
    """
    if context is None:
        return 0
    keys = context.task_run_dynamic_keys

    def count(name: str) -> int:
        before = keys.get(name, 0)
        number = before if isinstance(before, int) else 0
        keys[name] = number + 1
        return number

    with _counting:
        within_attempt = count(f"yeedu|{attempt}|{what}")
        if not task:
            return within_attempt
        known = f"yeedu|{task}|{within_attempt}|{what}"
        if known not in keys:
            keys[known] = count(f"yeedu|{place}|{what}")
        position = keys[known]
        return position if isinstance(position, int) else 0
