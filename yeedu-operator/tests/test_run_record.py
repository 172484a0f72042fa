"""The record of a remote run is found by every later attempt of the same call, and by no other call."""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from fake_clock import FakeClock
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)

from prefect_yeedu.errors import YeeduPrefectError, YeeduPrefectUnavailable
from prefect_yeedu.failures import Failure, classify
from prefect_yeedu.flow_run import prefect_server as prefect_server_module
from prefect_yeedu.flow_run.cluster_record import ClusterRecord
from prefect_yeedu.flow_run.prefect_server import ask_prefect
from prefect_yeedu.flow_run.record_fields import Definition, exit_value_fields, read_exit_value
from prefect_yeedu.flow_run.run_record import ArtifactLedger
from prefect_yeedu.models import RunState
from prefect_yeedu.retry_policy import RetryPolicy
from prefect_yeedu.runs.record import ClusterMove, Phase, Record, Resume

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import Artifact
    from scripted_yeedu import ScriptedYeedu

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class TryAgainError(Exception):
    """Has a flow or task tried again."""


@pytest.fixture
def definition() -> Definition:
    """A job that no other test has."""
    return Definition("https://yeedu.example:8080/api/v1", "tenant", 1, "job", uuid.uuid4().int % 10**12)


def ledger_of(definition: Definition, passed: str = "") -> ArtifactLedger:
    ledger = ArtifactLedger.of_this_call(definition, passed=passed)
    assert isinstance(ledger, ArtifactLedger)
    return ledger


def artifacts_of(definition: Definition) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        return client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[definition.key]))
        )


def in_two_attempts(body: Callable[[], list[Record]]) -> tuple[list[Record], list[Record]]:
    """Run a flow twice, as a retry does; return the records that its attempts have opened."""
    attempts: list[list[Record]] = []

    @flow(retries=1)
    def tried() -> None:
        attempts.append(body())
        if len(attempts) == 1:
            raise TryAgainError

    tried()
    return attempts[0], attempts[1]


def test_a_call_finds_its_record_again_whatever_it_passes(definition: Definition) -> None:
    def calls() -> list[Record]:
        return [ledger_of(definition, passed=str(time.time_ns())).open() for _ in range(2)]

    first, second = in_two_attempts(calls)
    assert [record.is_new for record in first] == [True, True]
    assert [record.is_new for record in second] == [False, False]
    assert [record.key for record in first] == [record.key for record in second]
    assert len({record.key for record in first}) == 2
    assert len(artifacts_of(definition)) == 2


def test_a_task_that_the_flow_waits_for_finds_its_record_again(definition: Definition) -> None:
    @task
    def in_task() -> Record:
        return ledger_of(definition, passed=str(time.time_ns())).open()

    first, second = in_two_attempts(lambda: [in_task(), in_task()])
    assert [record.key for record in first] == [record.key for record in second]
    assert len({record.key for record in first}) == 2


def test_tasks_side_by_side_find_their_own_records_in_whatever_order_they_come(
    definition: Definition,
) -> None:
    chance = random.Random(7)

    @task
    def in_task(number: int, seconds: float) -> Record:
        time.sleep(seconds)
        ledger = ledger_of(definition, passed=str(number))
        record = ledger.open()
        if record.is_new:
            ledger.note_submitted(number, "")
        return record

    def calls() -> list[Record]:
        delays = [chance.uniform(0, 0.3) for _ in range(6)]
        return in_task.map(range(1, 7), delays).result()

    first, second = in_two_attempts(calls)
    assert [record.key for record in first] == [record.key for record in second]
    assert [record.run_id for record in second] == [1, 2, 3, 4, 5, 6]


def test_the_attempts_of_a_task_have_one_record(definition: Definition) -> None:
    records: list[Record] = []

    @task(retries=1)
    def in_task() -> None:
        records.append(ledger_of(definition).open())
        if len(records) == 1:
            raise TryAgainError

    @flow
    def caller() -> None:
        in_task()

    caller()
    assert records[0].key == records[1].key


def test_equal_calls_of_a_task_without_a_flow_have_records_of_their_own(definition: Definition) -> None:
    @task
    def alone() -> list[Record]:
        return [ledger_of(definition).open() for _ in range(2)]

    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        records = alone()
    assert [record.is_new for record in records] == [True, True]
    assert len({record.key for record in records}) == 2


@pytest.mark.parametrize("value", ["", "short", "x" * 500, "x" * 501, "\N{SNOWMAN}" * 5000, "a\0b\ud800c"])
def test_an_exit_value_comes_back_as_it_was(definition: Definition, value: str) -> None:
    assert read_exit_value(exit_value_fields(value)) == value

    def call() -> list[Record]:
        ledger = ledger_of(definition)
        record = ledger.open()
        if record.is_new:
            ledger.note_submitted(7, "https://yeedu.example/run/7")
            ledger.note_cells_done(value)
            ledger.note_stopping()
        return [record]

    _, [record] = in_two_attempts(call)
    assert record.exit_value == value
    assert (record.phase, record.cells_done, record.has_succeeded) == (Phase.STOPPING, True, True)


def test_a_run_that_ended_otherwise_is_followed_by_another_version(definition: Definition) -> None:
    def call() -> list[Record]:
        ledger = ledger_of(definition)
        record = ledger.open()
        ledger.note_submitted(6 + record.attempt, "https://yeedu.example/run/7")
        ledger.note_ended(RunState.ERROR)
        ledger.note_submitted(99, "")  # what is over stays so
        ledger.note_error("The run ended in ERROR | because ```of``` this.")
        return [record]

    [first], [second] = in_two_attempts(call)
    assert second.is_new
    assert (second.attempt, second.others) == (2, (7,))
    assert second.key == first.key.removesuffix("1") + "2"
    texts = [str(one.data) for one in artifacts_of(definition)]
    assert all("ended in **ERROR**" in text and "| Duration | 0." in text for text in texts)
    assert all("because '''of''' this" in text for text in texts)


def test_a_flow_run_that_never_resumes_still_finds_a_run_that_goes_on(definition: Definition) -> None:
    def call() -> list[Record]:
        ledger = ledger_of(definition)
        record = ledger.open(Resume.NEVER)
        if record.is_new:
            ledger.note_submitted(7, "")
        else:
            ledger.note_ended(RunState.STOPPED)
            return [record, ledger.open(Resume.NEVER)]
        return [record]

    _, [found, anew] = in_two_attempts(call)
    assert (found.run_id, found.is_new) == (7, False)
    assert (anew.run_id, anew.is_new, anew.attempt) == (None, True, 2)


def test_more_records_than_the_server_shows_at_once_are_searched(
    definition: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_server_module, "PAGE", 2)
    first, second = in_two_attempts(lambda: [ledger_of(definition).open() for _ in range(5)])
    assert [record.key for record in first] == [record.key for record in second]
    assert not any(record.is_new for record in second)


def test_other_arguments_than_before_are_told(
    definition: Definition, caplog: pytest.LogCaptureFixture
) -> None:
    in_two_attempts(lambda: [ledger_of(definition, passed=str(time.time_ns())).open()])
    assert "An earlier attempt gave Yeedu job" in caplog.text


def test_a_record_that_was_deleted_is_only_missed(
    definition: Definition, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def caller() -> None:
        ledger = ledger_of(definition)
        ledger.open()
        [artifact] = artifacts_of(definition)
        with get_client(sync_client=True) as client:
            client.delete_artifact(artifact.id)
        ledger.note_submitted(7, "")

    caller()
    assert "does not know" in caplog.text


def test_a_move_to_another_cluster_is_one_of_the_definition(definition: Definition) -> None:
    elsewhere = Definition("https://other.example:8080/api/v1", "tenant", 1, "job", definition.id)
    ClusterRecord(definition, "call-1", flow_run_id=None, task_run_id=None).note(1, 2)
    other = ClusterRecord(elsewhere, "call-2", flow_run_id=None, task_run_id=None)
    assert other.read() is None
    other.note(5, 6)
    mine = ClusterRecord(definition, "call-1", flow_run_id=None, task_run_id=None)
    assert mine.read() == ClusterMove(1, 2)
    theirs = ClusterRecord(definition, "call-3", flow_run_id=None, task_run_id=None)
    assert theirs.read() == ClusterMove(1, 2, is_of_this_call=False)
    mine.forget()
    assert theirs.read() is None
    assert other.read() == ClusterMove(5, 6)


# What the Prefect server fails with.


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("answer", [(503, {}), (429, {}), (0, None), (200, b"<html>a proxy's page</html>")])
def test_a_call_of_prefect_makes_as_many_requests_as_its_patience_says(
    yeedu: ScriptedYeedu, attempts: int, answer: Any
) -> None:
    flow_run = uuid.uuid4()
    yeedu.on("GET", f"/api/flow_runs/{flow_run}", answer)
    with (
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{yeedu.port}/api"}),
        pytest.raises(YeeduPrefectUnavailable, match="could not be asked about it") as caught,
    ):
        ask_prefect(
            lambda client: client.read_flow_run(flow_run),
            "about it",
            RetryPolicy(attempts=attempts),
            clock=FakeClock(),
        )
    assert len(yeedu.called("GET", f"/api/flow_runs/{flow_run}")) == attempts
    assert classify(caught.value) is Failure.TRANSIENT


def test_what_prefect_does_not_know_is_an_error_of_this_package(definition: Definition) -> None:
    nobody = UUID(int=1)
    with pytest.raises(YeeduPrefectError, match=r"does not know .* about flow run 1") as caught:
        ask_prefect(lambda client: client.read_flow_run(nobody), "about flow run 1", RetryPolicy())
    assert classify(caught.value) is Failure.REFUSED
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[nobody]))
    assert ask_prefect(lambda client: client.read_artifacts(artifact_filter=wanted), "", RetryPolicy()) == []


def test_a_prefect_client_that_cannot_start_is_an_error_of_this_package() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the client cannot start")

    with pytest.raises(YeeduPrefectError, match="could not start"):
        ask_prefect(fail, "about flow run 7", RetryPolicy(attempts=1, budget_seconds=1.0))


def test_that_a_run_runs_costs_no_call_of_its_own(
    definition: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def caller() -> tuple[int, Phase]:
        ledger = ledger_of(definition)
        ledger.open()
        ledger.note_submitted(7, "https://yeedu.example/7")
        written: list[Phase] = []
        update = ArtifactLedger._update

        def count(self: ArtifactLedger, client: Any) -> None:
            written.append(Phase(self._fields["phase"]))
            update(self, client)

        monkeypatch.setattr(ArtifactLedger, "_update", count)
        ledger.note_running()
        calls = len(written)
        ledger.note_cells_done(None)
        return calls, written[-1]

    assert caller() == (0, Phase.RUNNING)


def test_a_submission_that_nobody_answered_is_known_to_the_next_attempt(definition: Definition) -> None:
    def body() -> list[Record]:
        ledger = ledger_of(definition)
        records = [ledger.open()]
        if not records[0].is_new:
            records.append(ledger.note_intended())
        ledger.note_unanswered()
        return records

    [first], [second, repeated] = in_two_attempts(body)
    assert not first.is_unanswered
    assert second.is_unanswered
    assert second.phase is Phase.INTENDED
    assert not repeated.is_unanswered
