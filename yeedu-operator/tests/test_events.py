"""What Prefect's event feed hears of remote runs, and which failures a task is retried after."""

import asyncio
import time
from typing import Any
from uuid import UUID

import pytest
from mock_yeedu import MockYeedu
from prefect import flow, task
from prefect.assets import Asset
from prefect.client.orchestration import get_client
from prefect.states import State
from scripted_yeedu import TENANT

from operators.yeedu import YeeduOperator
from prefect_yeedu import (
    YeeduResult,
    YeeduRunFailed,
    YeeduStopRequested,
    YeeduSubmissionUnknown,
    YeeduTransportError,
    retry_if_transient,
)
from prefect_yeedu.client.connection import Connection
from prefect_yeedu.flow_run.run_events import RunEvents
from prefect_yeedu.urls import Target, TargetKind

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def operator(mock: MockYeedu, path: str) -> YeeduOperator:
    return YeeduOperator(mock.url(path), "yeedu_connection_details", "yeedu_password")


def events_of(state: State[Any], count: int) -> dict[str, dict[str, Any]]:
    """Return our events about a flow run by their names, once so many have reached the server."""
    flow_run_id = state.state_details.flow_run_id
    assert isinstance(flow_run_id, UUID)
    wanted = {"event": {"prefix": ["yeedu.", "prefect.asset."]}}
    related = {"id": [f"prefect.flow-run.{flow_run_id}"]}
    deadline = time.monotonic() + 60
    while True:
        with get_client(sync_client=True) as client:
            query = {"filter": {**wanted, "related": related}, "limit": 50}
            found = client._client.post("/events/filter", json=query).json()["events"]
        if len(found) >= count:
            return {event["event"]: event for event in found}
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_a_success_is_submitted_ended_and_an_asset_made_anew(mock: MockYeedu) -> None:
    @flow
    def caller() -> tuple[int | None, str]:
        result = operator(mock, "job/101").execute()
        return result.run_id, result.url

    state = caller(return_state=True)
    run_id, url = state.result()
    events = events_of(state, 3)
    assert set(events) == {
        "yeedu.run.submitted",
        "yeedu.run.ended",
        "prefect.asset.materialization.succeeded",
    }
    ended = events["yeedu.run.ended"]
    assert ended["payload"] == {"run_id": run_id, "url": url, "state": "DONE", "is_success": True}
    assert ended["resource"]["prefect.resource.name"] == f"Yeedu run {run_id}"
    assert events["yeedu.run.submitted"]["payload"]["is_new"] is True
    key = events["prefect.asset.materialization.succeeded"]["resource"]["prefect.resource.id"]
    assert key.endswith(f"/tenant/{TENANT}/workspace/1/job/101")
    assert Asset(key=key).key == key
    assert mock.password not in str(events)


def test_a_failure_has_ended_and_made_nothing(mock: MockYeedu) -> None:
    @flow
    def caller() -> None:
        operator(mock, "job/102").execute()

    state = caller(return_state=True)
    events = events_of(state, 2)
    assert set(events) == {"yeedu.run.submitted", "yeedu.run.ended"}
    ended = events["yeedu.run.ended"]["payload"]
    assert (ended["state"], ended["is_success"]) == ("ERROR", False)


def test_every_server_and_tenant_makes_a_key_that_prefect_takes() -> None:
    target = Target(TargetKind.JOB, 1, 5)
    for base, tenant in (
        ("https://[::1]:8080/api/v1", "a tenant & more?"),
        ("http://h:1/x/api/v1", "t" * 900),
    ):
        key = RunEvents.of(Connection(base, tenant), target).asset_key
        assert Asset(key=key).key == key


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (YeeduTransportError("Yeedu is away."), 3),
        (YeeduSubmissionUnknown("It is not known whether Yeedu started job 5."), 3),
        (YeeduRunFailed("It ended in ERROR."), 1),
        (OSError("x"), 1),
    ],
)
def test_a_task_is_retried_only_after_what_passes(error: Exception, times: int) -> None:
    attempts: list[int] = []

    @task(retries=2, retry_condition_fn=retry_if_transient)
    def fails() -> None:
        attempts.append(1)
        raise error

    @task(retries=2, retry_condition_fn=retry_if_transient)
    async def fails_as_well() -> None:
        attempts.append(1)
        raise error

    @flow
    def caller() -> None:
        fails(return_state=True)

    @flow
    async def async_caller() -> None:
        await fails_as_well(return_state=True)

    caller()
    assert len(attempts) == times
    asyncio.run(async_caller())
    assert len(attempts) == 2 * times


@pytest.mark.parametrize(
    ("kind", "is_success"), [(TargetKind.JOB, True), (TargetKind.RUN, True), (TargetKind.NOTEBOOK, False)]
)
def test_a_job_that_ended_well_while_its_call_was_stopped_is_a_success(
    kind: TargetKind, is_success: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        RunEvents, "ended", lambda _, __, ___, state, *, is_success: told.append((state, is_success))
    )

    def finish() -> YeeduResult:
        raise YeeduStopRequested("The flow run is Cancelling.", run_id=7, state="DONE", run_url="u")

    with pytest.raises(YeeduStopRequested):
        RunEvents.of(Connection("http://h:1/api/v1", "t"), Target(kind, 1, 5)).reported(finish)
    assert told == [("DONE", is_success)]
