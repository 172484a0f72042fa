"""What the invariants find where they do not hold: a judge that never condemns is none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.weather import invariants
from tests.weather.calls import Outcome
from tests.weather.plan import Plan
from tests.weather.records import Recorded
from yeedu_mock.state.records import Run

if TYPE_CHECKING:
    from yeedu_mock.testing import RunningMock

pytestmark = pytest.mark.xdist_group("weather-1")

PLAN = Plan(0)


class Client:
    """Logs in to a mock, and starts, reads and stops runs of a job that takes its time."""

    def __init__(self, running: RunningMock) -> None:
        self.running = running
        self.session = requests.Session()
        settings = running.settings
        body = {"username": settings.username, "password": settings.password}
        self.session.headers["Authorization"] = f"Bearer {self.call('POST', 'login', body)['token']}"
        self.call("POST", f"user/select/{running.tenant}")
        self.runs = f"workspace/{running.workspace_id}/spark/job/run"

    def call(self, method: str, path: str, body: object = None) -> dict[str, object]:
        answer = self.session.request(method, f"{self.running.url}/api/v1/{path}", json=body, timeout=90)
        answer.raise_for_status()
        return answer.json()

    def start(self) -> int:
        return int(str(self.call("POST", self.runs, {"job_id": 103})["run_id"]))

    def stop(self, run_id: int) -> None:
        """Stop a run, and wait for its end without asking."""
        self.call("POST", f"{self.runs}/stop/{run_id}")
        deadline = time.monotonic() + 90
        while self.running.mock.runs.unfinished() and time.monotonic() < deadline:
            time.sleep(0.01)

    def look(self, run_id: int) -> None:
        self.call("GET", f"{self.runs}/{run_id}")


@pytest.fixture
def client(yeedu_mock: RunningMock) -> Client:
    requests.post(f"{yeedu_mock.url}/_control/reset", timeout=90).raise_for_status()
    return Client(yeedu_mock)


def test_a_second_run_beside_the_first_is_found(client: Client) -> None:
    client.start()
    client.start()
    [found] = invariants.submitted_once(client.running.mock)
    assert found.startswith("TWICE")
    assert "went on" in found


def test_a_second_run_is_right_only_after_the_end_of_the_first_was_seen(client: Client) -> None:
    mock = client.running.mock
    first = client.start()
    client.look(first)
    client.stop(first)
    second = client.start()
    [found] = invariants.submitted_once(mock)
    assert "before anybody saw" in found
    client.stop(second)
    client.look(second)
    client.start()
    assert [*invariants.submitted_once(mock)] == [found]


def test_an_end_on_record_is_that_of_the_run(client: Client) -> None:
    mock = client.running.mock
    run_id = client.start()
    ended = Recorded(run_id, "job", is_ended=True, state="STOPPED")
    assert [*invariants.records_are_true(mock, [ended])]
    client.stop(run_id)
    assert not [*invariants.records_are_true(mock, [ended])]
    assert [*invariants.records_are_true(mock, [Recorded(run_id, "notebook", True, "STOPPED")])]
    assert [*invariants.records_are_true(mock, [Recorded(run_id, "job", True, "RUNNING")])]


def test_a_run_that_goes_on_is_open_on_record(client: Client) -> None:
    mock = client.running.mock
    run_id = client.start()
    assert [*invariants.runs_are_accounted_for(mock, [])]
    assert [*invariants.runs_are_accounted_for(mock, [Recorded(run_id, "job", True, "STOPPED")])]
    assert not [*invariants.runs_are_accounted_for(mock, [Recorded(run_id, "job", False, "")])]
    assert not [*invariants.runs_are_accounted_for(mock, [Recorded(None, "job", False, "")])]
    assert [*invariants.left_runs_have_ended(mock, PLAN, ["said something"])]
    client.stop(run_id)
    assert not [*invariants.left_runs_have_ended(mock, PLAN, [])]


def test_a_result_is_whole_and_of_an_own_run(client: Client) -> None:
    mock = client.running.mock
    run_id = client.start()
    client.stop(run_id)
    [run] = mock.store.all(Run)
    mock.runs.log_path(run, "stdout").write_text("all of it\n")

    def found(outcome: Outcome) -> list[str]:
        return [text.split(":")[0] for text in invariants.results_are_its_own(mock, PLAN, [outcome])]

    assert found(Outcome("result", run_id=run_id, text="all of it\n")) == ["WRONG RESULT"]  # it was stopped
    assert found(Outcome("result", run_id=run_id + 1)) == ["WRONG RESULT"]
    assert "LOST OUTPUT" in found(Outcome("result", run_id=run_id, text="all"))
    assert "LOST OUTPUT" not in found(Outcome("result", run_id=run_id, text="all", is_cut=True))


def test_errors_of_others_and_haste_are_found() -> None:
    assert [*invariants.errors_are_ours([Outcome.of_error(KeyError("x"))])]
    assert [*invariants.requests_are_few(invariants.MAX_REQUESTS + 1, calls=1)]
    assert [*invariants.fine_weather_brings_a_result(PLAN, [])]
    assert not [*invariants.fine_weather_brings_a_result(PLAN, [Outcome("result")])]
