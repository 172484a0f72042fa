"""Stopping a remote run: when it happens, how long it is tried, and what is said and recorded about it."""

import threading
import time
from typing import Any

import pytest
from addressed import execute
from fake_clock import FakeClock
from scripted_yeedu import Answer, ScriptedYeedu
from watched_run import GONE, JOB, RUN, STOP, WatchedRun, state

from prefect_yeedu.errors import YeeduRunTimedOut, YeeduStopRequested
from prefect_yeedu.models import RunState
from prefect_yeedu.retry_policy import SystemClock
from prefect_yeedu.runs.record import Phase
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.wait_options import WaitOptions

UNKNOWN_END = "nobody has seen it end yet"


@pytest.fixture
def watched(yeedu: ScriptedYeedu) -> WatchedRun:
    return WatchedRun(yeedu)


def stop(watched: WatchedRun, **options: Any) -> bool:
    run = watched.run(**options)
    try:
        return run.stop()
    finally:
        run.api.client.close()


@pytest.mark.parametrize("word", ["STOPPED", "KILLED", "DONE", "ERROR"])
def test_a_stop_is_confirmed_by_reading_an_end(watched: WatchedRun, word: str) -> None:
    watched.states(state("STOPPING"), state("STOPPING"), state(word))
    assert stop(watched) is True
    assert watched.stops == 1
    assert watched.record.state is RunState(word)
    assert watched.listener.troubles == []


def test_a_stop_is_asked_for_again_while_yeedu_is_in_trouble(watched: WatchedRun) -> None:
    watched.yeedu.on("POST", STOP, (503, {}), (0, b""), (404, b"<html>"), GONE, (201, {}))
    watched.states(state("STOPPED"))
    assert stop(watched) is True
    assert watched.stops == 5
    assert watched.stop_clock.time < 20


def test_a_stop_that_changes_nothing_is_asked_for_again(watched: WatchedRun) -> None:
    watched.states(lambda _: state("STOPPED" if watched.stops > 1 else "RUNNING"))
    assert stop(watched) is True
    assert watched.stops == 2


def test_a_stop_that_is_not_confirmed_leaves_the_record_open(watched: WatchedRun) -> None:
    watched.states(state("STOPPING"))
    assert stop(watched) is False
    assert watched.stop_clock.time == pytest.approx(20)
    assert watched.record.phase is Phase.STOPPING
    [trouble] = watched.listener.troubles
    assert f"It was asked to stop, and {UNKNOWN_END}; it is STOPPING. It stays open on record." in trouble
    assert "/run/9/" in trouble


def test_a_stop_that_nobody_could_ask_for_is_not_said_to_have_been_asked_for(watched: WatchedRun) -> None:
    refused = (403, {"error_code": "RFA-000403", "error_message": "not yours"})
    watched.yeedu.on("POST", STOP, refused)
    watched.states(state("RUNNING"))
    assert stop(watched) is False
    assert watched.stops == 1
    [trouble] = watched.listener.troubles
    assert f"It could not be asked to stop, and {UNKNOWN_END}" in trouble
    assert "not yours" in trouble


def test_a_stop_takes_no_longer_than_its_budget_when_nothing_answers(watched: WatchedRun) -> None:
    is_over = threading.Event()

    def hang(call: Any) -> Answer:
        is_over.wait(60)
        return 201, {}

    watched.yeedu.on("POST", STOP, hang)
    watched.stop_clock = SystemClock()
    began_at = time.monotonic()
    assert stop(watched, stop_seconds=1.0) is False
    assert time.monotonic() - began_at < 30
    is_over.set()


def test_a_run_that_has_ended_is_not_stopped(watched: WatchedRun) -> None:
    watched.states(state("ERROR"))
    run = watched.run()
    run.poll()
    assert run.stop() is True
    assert watched.stops == 0
    run.api.client.close()


def test_a_run_that_another_wait_follows_for_is_left_as_it_is(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"))
    watched.listener.has_successor = True
    run = watched.run()
    run.poll()
    with pytest.raises(KeyboardInterrupt), run.stopped_on_the_way_out():
        raise KeyboardInterrupt
    assert watched.stops == 0
    assert watched.record.phase is Phase.RUNNING
    run.api.client.close()


def test_the_stop_is_recorded_before_it_is_asked_for(watched: WatchedRun) -> None:
    def note(call: Any) -> Answer:
        assert watched.record.phase is Phase.STOPPING
        return 201, {}

    watched.yeedu.on("POST", STOP, note)
    watched.states(state("STOPPED"))
    assert stop(watched)
    assert watched.record.phase is Phase.ENDED


def test_a_spent_budget_stops_the_run_and_says_so(watched: WatchedRun) -> None:
    watched.ends_when_stopped()
    with pytest.raises(
        YeeduRunTimedOut, match=r"within 60 seconds; see http.*\. It was stopped\.$"
    ) as caught:
        watched.wait(timeout_seconds=60)
    assert watched.clock.time == pytest.approx(60)
    assert (caught.value.run_id, caught.value.state) == (9, "STOPPED")


def test_a_spent_budget_says_that_nobody_saw_the_end(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"))
    with pytest.raises(YeeduRunTimedOut, match=f"It was asked to stop, and {UNKNOWN_END}"):
        watched.wait(timeout_seconds=60)
    assert watched.record.phase is Phase.STOPPING


def test_a_run_that_ended_just_then_is_not_said_to_be_stopped(watched: WatchedRun) -> None:
    watched.ends_when_stopped("DONE")
    with pytest.raises(YeeduRunTimedOut, match=r"It ended in DONE\.$"):
        watched.wait(timeout_seconds=60)
    assert watched.record.state is RunState.DONE


def test_a_run_that_is_not_wanted_any_more_is_stopped(watched: WatchedRun) -> None:
    watched.ends_when_stopped()
    watched.listener.reason = "the flow run is Cancelling"
    with pytest.raises(YeeduStopRequested, match=r"because the flow run is Cancelling.*It was stopped\."):
        watched.wait()


def test_a_budget_counts_through_an_outage(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), (503, {}))
    watched.yeedu.on("POST", STOP, (503, {}))
    with pytest.raises(YeeduRunTimedOut):
        watched.wait(timeout_seconds=300)
    assert watched.clock.time == pytest.approx(300)
    assert watched.record.phase is Phase.STOPPING


class PrefectTerminated(BaseException):
    """Prefect's own signals are no `Exception`."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, PrefectTerminated, ValueError])
@pytest.mark.parametrize("is_confirmed", [True, False])
def test_whatever_interrupts_the_wait_the_run_is_stopped_or_open_on_record(
    watched: WatchedRun, kind: type[BaseException], is_confirmed: bool
) -> None:
    class InterruptingClock(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.time > 30:
                raise kind

    watched.clock = InterruptingClock()
    if is_confirmed:
        watched.ends_when_stopped()
    else:
        watched.states(state("RUNNING"))
    with pytest.raises(kind):
        watched.wait()
    assert watched.stops
    assert watched.record.phase is (Phase.ENDED if is_confirmed else Phase.STOPPING)
    assert watched.stop_clock.time <= 20


def test_a_wait_that_the_clock_ends_stops_the_run_in_ordinary_time(watched: WatchedRun) -> None:
    class SetEvent(FakeClock):
        """As `StoppableClock` once its event is set: no wait lasts any more."""

        def sleep(self, seconds: float) -> None:
            raise YeeduStopRequested("The wait for Yeedu has ended, because whoever waited was cancelled.")

    watched.clock = SetEvent()
    watched.yeedu.on("POST", STOP, (503, {}), (503, {}), (503, {}), (201, {}))
    watched.states(lambda _: state("STOPPED" if watched.stops > 3 else "RUNNING"))
    with pytest.raises(YeeduStopRequested, match="It was stopped") as caught:
        watched.wait()
    assert (caught.value.run_id, caught.value.state) == (9, "STOPPED")
    assert watched.stops == 4
    assert watched.stop_clock.time > 1
    assert len(watched.yeedu.called("GET", RUN)) < 10


def test_a_submission_that_yeedu_takes_its_time_for_is_given_up_and_its_run_stopped(
    yeedu: ScriptedYeedu,
) -> None:
    accepts = threading.Event()

    def accept(call: Any) -> Answer:
        accepts.wait(90)
        return 200, {"run_id": 9}

    watched = WatchedRun(yeedu)
    watched.ends_when_stopped()
    yeedu.on("POST", f"{JOB}/run", accept)
    threading.Timer(0.3, lambda: setattr(watched.listener, "reason", "the flow run is Cancelling")).start()
    began_at = time.monotonic()
    request = RunRequest(options=WaitOptions(stop_seconds=1.0))
    with yeedu.client() as client:
        with pytest.raises(YeeduStopRequested, match="because the flow run is Cancelling"):
            execute(client, request, watched.listener)
        assert time.monotonic() - began_at < 45
        assert "If it still names one, that is stopped" in watched.listener.troubles[-1]
        accepts.set()
        while not watched.stops:
            assert time.monotonic() - began_at < 100
            time.sleep(0.02)
