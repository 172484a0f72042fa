"""Suspended flow runs are resumed when their runs were seen to end, whoever watches, and whatever is away."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployed_runs import DeployedRun, await_true
from fake_clock import FakeClock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.flow_runs import suspend_flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from prefect_blocks import operator

from prefect_yeedu.flow_run import watch as watching
from prefect_yeedu.flow_run.deferred_runs import find_deferred_runs
from prefect_yeedu.flow_run.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mock_yeedu import MockYeedu

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own clients leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def nothing_suspended(prefect_server: None) -> None:
    """Let no flow run be suspended that another test has left."""
    with get_client(sync_client=True) as client:
        for run in find_deferred_runs():
            client.delete_flow_run(run.flow_run_id)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def watch(clock: FakeClock) -> Iterator[Watch]:
    made = Watch(clock)
    yield made
    made.close()


def suspended(mock: MockYeedu, **options: Any) -> tuple[DeployedRun, int]:
    """Return a flow run that is suspended for a run that goes on, and the run."""
    program = {"program": "import time; time.sleep(300)"}
    job = mock.control("POST", "jobs", json=program)["job_id"]
    run = DeployedRun.of(lambda: operator(mock, job, deferrable=True, **options).execute())
    assert run.attempt() == "Suspended"
    return run, int(run.records()[0]["run_id"])


def end(mock: MockYeedu, *runs: int) -> None:
    for run in runs:
        mock.control("POST", f"runs/{run}", json={"status": "DONE"})


def runs_of(mock: MockYeedu, run: DeployedRun) -> list[dict[str, Any]]:
    return mock.runs_of(int(run.records()[0]["definition"]))


def test_each_is_resumed_when_its_own_run_has_ended_and_not_before(mock: MockYeedu, watch: Watch) -> None:
    (first, one), (second, two) = suspended(mock), suspended(mock)
    assert watch.poll() == []
    end(mock, one)
    assert watch.poll() == [first.id]
    assert watch.poll() == []
    assert (first.state, second.state) == ("Resuming", "Suspended")
    assert first.attempt() == "Completed"
    end(mock, two)
    assert watch.poll() == [second.id]
    assert second.attempt() == "Completed"
    assert len(runs_of(mock, first)) == len(runs_of(mock, second)) == 1


def test_a_round_asks_for_all_together_with_one_login(
    mock: MockYeedu, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [suspended(mock) for _ in range(3)]
    mock.control("DELETE", "journal")
    assert watch.poll() == []
    asked: list[str] = []
    send = SyncPrefectClient.request

    def count(self: SyncPrefectClient, method: Any, path: Any, *rest: Any, **more: Any) -> Any:
        asked.append(path)
        return send(self, method, path, *rest, **more)

    monkeypatch.setattr(SyncPrefectClient, "request", count)
    for _ in range(3):
        assert watch.poll() == []
    assert asked == ["/flow_runs/filter", "/artifacts/filter"] * 3
    monkeypatch.undo()
    paths = [one["path"] for one in mock.control("GET", "journal")]
    assert sum("/runs" in path for path in paths) == 4, paths
    assert sum(path.endswith("/login") for path in paths) == 1, paths
    assert not any("/job/run/" in path for path in paths), "none is asked for alone"
    end(mock, *(remote for _, remote in waiting))
    assert set(watch.poll()) == {run.id for run, _ in waiting}


def test_a_run_that_the_list_does_not_show_is_asked_for_alone(
    mock: MockYeedu, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, one), (second, two) = suspended(mock), suspended(mock)
    monkeypatch.setattr("prefect_yeedu.flow_run.run_ends.MAX_LISTED", 1)
    end(mock, one, two)
    assert set(watch.poll()) == {first.id, second.id}


def test_while_yeedu_is_away_nothing_is_resumed_and_afterwards_all(
    mock: MockYeedu, watch: Watch, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    run, remote = suspended(mock)
    end(mock, remote)
    caplog.set_level(logging.INFO, "prefect_yeedu.watch")
    mock.control("POST", "faults", json={"path": "workspace/", "status": 503, "page": "html", "times": 100})
    try:
        for _ in range(4):
            assert watch.poll() == []
            clock.sleep(61)
    finally:
        mock.control("DELETE", "faults")
    assert run.is_suspended
    assert watch.poll() == [run.id]
    told = [line for line in caplog.messages if line.startswith(("retrying ", mock.base))]
    assert len(told) == 2, told
    assert told[0].startswith(f"retrying {mock.base}/api/v1 for 1 runs: ")
    assert told[1].endswith(" answers again.")


def test_a_run_that_cannot_be_read_holds_no_other_up_and_is_given_up_like_a_call_s(
    mock: MockYeedu, watch: Watch, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unread, one), (other, two) = suspended(mock), suspended(mock)
    monkeypatch.setattr("prefect_yeedu.flow_run.run_ends.MAX_LISTED", 0)
    end(mock, two)
    mock.control(
        "POST", "faults", json={"path": rf"run/{one}\b", "status": 500, "page": "html", "times": 100}
    )
    third, three = suspended(mock)
    try:
        assert watch.poll() == [other.id]
        clock.sleep(7100)
        assert watch.poll() == []
        clock.sleep(200)
        assert watch.poll() == [unread.id]
        end(mock, three)
        assert watch.poll() == [third.id]
    finally:
        mock.control("DELETE", "faults")


def test_a_run_that_yeedu_does_not_know_any_more_is_told_to_its_flow(
    mock: MockYeedu, watch: Watch, clock: FakeClock
) -> None:
    run, _ = suspended(mock, gone_seconds=0.1)
    mock.control("PATCH", "switches", json={"replica_lag_seconds": 600})
    try:
        for _ in range(4):
            assert watch.poll() == []
            clock.sleep(20)
        assert watch.poll() == [run.id]
    finally:
        mock.control("PATCH", "switches", json={"replica_lag_seconds": 0})


def test_a_budget_that_is_over_is_enforced_by_the_flow_run(mock: MockYeedu, watch: Watch) -> None:
    run, _ = suspended(mock, timeout_seconds=1)
    until = float(run.records()[0]["deferred_until"])
    while time.time() < until:
        time.sleep(0.05)
    assert watch.poll() == [run.id]
    assert run.attempt() == "Failed"
    assert [one["run_status"] for one in runs_of(mock, run)] == ["STOPPED"]


def test_cancelled_while_suspended_its_run_is_stopped(mock: MockYeedu, watch: Watch) -> None:
    run, _ = suspended(mock)
    assert watch.poll() == []
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    assert run.state == "Cancelled"
    assert watch.poll() == []
    await_true("stopped", lambda: [one["run_status"] for one in runs_of(mock, run)] == ["STOPPED"])
    await_true("told", lambda: any("was left behind, and is over now" in line for line in run.log()))


def test_a_pause_that_waits_for_a_person_is_left_alone(mock: MockYeedu, watch: Watch) -> None:
    def asks() -> None:
        operator(mock, job, deferrable=True).execute()
        suspend_flow_run(_sync=True)  # pyright: ignore[reportCallIssue]

    job = mock.control("POST", "jobs", json={"program": "import time; time.sleep(300)"})["job_id"]
    run = DeployedRun.of(asks)
    assert run.attempt() == "Suspended"
    [deferred] = find_deferred_runs()
    end(mock, int(run.records()[0]["run_id"]))
    run.resume()
    assert run.attempt() == "Suspended"
    assert watch.poll() == []
    assert find_deferred_runs() == []
    assert watching.resume(deferred) is False, "of a pause that was seen before, this one is another"
    assert run.is_suspended


@pytest.mark.parametrize("fields", [{}, {"phase": "no such phase"}, {"connection_block_name": "not-there"}])
def test_a_record_or_block_that_is_broken_is_told_once_and_stops_no_other(
    mock: MockYeedu, watch: Watch, caplog: pytest.LogCaptureFixture, fields: dict[str, str]
) -> None:
    (broken, _), (healthy, remote) = suspended(mock), suspended(mock)
    [of_broken] = [run for run in find_deferred_runs() if run.flow_run_id == broken.id]
    changed = {**of_broken.fields, **fields} if fields else {}
    with get_client(sync_client=True) as client:
        client.update_artifact(of_broken.record_id, ArtifactUpdate(metadata_=changed))
    end(mock, remote)
    assert watch.poll() == [healthy.id]
    assert watch.poll() == []
    if "connection_block_name" not in fields:
        told = [line for line in broken.log() if "is not resumed by itself" in line]
        assert len(told) == 1, told
        assert "resume it by hand, or cancel it" in told[0]
    else:
        [told] = [line for line in caplog.messages if "retrying " in line]
        assert "not-there" in told


def test_two_watchers_resume_it_once(mock: MockYeedu, watch: Watch) -> None:
    run, remote = suspended(mock)
    other = Watch()
    try:
        end(mock, remote)
        assert [*watch.poll(), *other.poll()] == [run.id]
    finally:
        other.close()
    assert run.attempt() == "Completed"
    assert len(runs_of(mock, run)) == 1


def test_the_command_watches_is_killed_and_goes_on_when_it_is_started_again(
    mock: MockYeedu, tmp_path: Path
) -> None:
    run, remote = suspended(mock)
    file = tmp_path / "round"
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "YEEDU_WATCH_FILE": str(file),
    }
    command = [Path(sys.executable).with_name("yeedu-watch"), "--seconds", "0.1"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    process = start()
    await_true("a round", file.exists)
    process.kill()
    process.communicate()
    end(mock, remote)
    process = start()
    await_true("resumed", lambda: not run.is_suspended)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"Flow run {run.id} goes on; Yeedu run {remote} is over." in output
    assert run.attempt() == "Completed"
    assert len(runs_of(mock, run)) == 1


def test_an_interval_that_is_none_is_refused_in_one_sentence() -> None:
    environment = {**os.environ, "YEEDU_WATCH_SECONDS": "often"}
    command = [Path(sys.executable).with_name("yeedu-watch")]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr == (
        "YEEDU_WATCH_SECONDS is 'often', but it is a number of seconds, from 0.1 to 60.\n"
    )
