"""What a failed look at a run means: bad weather, a run that is gone, or a refusal; and what is recorded."""

import threading
import time
from typing import Any

import pytest
from scripted_yeedu import TENANT, Answer, ScriptedYeedu
from watched_run import GONE, RUN, WatchedRun, state

from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduAuthenticationError,
    YeeduNotFound,
    YeeduRunFailed,
    YeeduRunLost,
    YeeduTransportError,
)
from prefect_yeedu.models import RunState
from prefect_yeedu.runs import log_follower, remote_run
from prefect_yeedu.runs.record import Phase

HTML = b"<html>default backend - 404</html>"


@pytest.fixture
def watched(yeedu: ScriptedYeedu) -> WatchedRun:
    return WatchedRun(yeedu)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((404, HTML), id="a proxy's 404"),
        pytest.param((404, {"message": "no Route matched with those values"}), id="a gateway's 404"),
        pytest.param((403, HTML), id="a proxy's 403"),
        pytest.param((405, HTML), id="a proxy's 405"),
        pytest.param((400, HTML), id="a proxy's 400"),
        pytest.param((302, b"", {"Location": "/login"}), id="a redirect"),
        pytest.param((200, HTML), id="a page in place of JSON"),
        pytest.param((200, []), id="a list in place of an object"),
        pytest.param((429, {}, {"Retry-After": "1"}), id="too many requests"),
        pytest.param((503, {"error_code": "RFA-000503", "error_message": "later"}), id="Yeedu's own 503"),
        pytest.param((0, b""), id="a dropped connection"),
    ],
)
def test_an_answer_that_is_not_yeedus_own_is_bad_weather(watched: WatchedRun, answer: Answer) -> None:
    watched.states(state("RUNNING"), answer, answer, answer, state("DONE"))
    assert watched.wait().state == "DONE"
    assert watched.listener.states == [RunState.RUNNING, RunState.DONE]
    assert not watched.stops


def test_a_few_answers_that_there_is_no_such_run_are_waited_out(watched: WatchedRun) -> None:
    watched.states(*[GONE] * 8, state("RUNNING"), *[GONE] * 8, state("DONE"))
    assert watched.wait().state == "DONE"
    first, again, *_ = watched.listener.troubles
    assert first.startswith("Waiting for Yeedu to tell about run 9 again, which may go on.")
    assert again == "Yeedu tells about run 9 again."


def test_a_run_that_yeedu_keeps_denying_is_lost_and_stays_open_on_record(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), GONE)
    with pytest.raises(YeeduRunLost, match=r"said so \d+ times in \d+ seconds.*last state seen was RUNNING"):
        watched.wait()
    assert watched.clock.time >= 60
    assert watched.record.phase is Phase.RUNNING
    assert not watched.stops


def test_five_answers_at_least_make_a_run_lost(watched: WatchedRun) -> None:
    watched.states(GONE)
    with pytest.raises(YeeduRunLost, match="said so 5 times in"):
        watched.wait(gone_seconds=0)


def test_a_tenant_that_is_gone_is_not_told_as_a_run_that_is(
    yeedu: ScriptedYeedu, watched: WatchedRun
) -> None:
    watched.states(state("RUNNING"), GONE, (401, {}))
    yeedu.on("POST", f"user/select/{TENANT}", (200, {}), GONE)
    with pytest.raises(YeeduNotFound):
        watched.wait()


def test_a_slow_clock_alone_does_not_make_a_run_lost(watched: WatchedRun) -> None:
    def later(call: Any) -> Answer:
        watched.clock.time += 1000
        return GONE

    watched.states(later, later, later, later, state("DONE"))
    assert watched.wait().state == "DONE"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((401, {}), YeeduAuthenticationError),
        ((440, {}), YeeduAuthenticationError),
        ((403, {"error_code": "RFA-000403", "error_message": "not yours"}), YeeduAuthenticationError),
        ((400, {"error_code": "RFA-000400", "error_message": "no"}), YeeduAPIError),
    ],
)
def test_a_refusal_ends_the_wait_and_leaves_the_run_alone(
    watched: WatchedRun, answer: Answer, kind: type[YeeduAPIError]
) -> None:
    watched.states(state("RUNNING"), answer)
    with pytest.raises(kind):
        watched.wait()
    assert watched.is_open
    assert not watched.stops
    assert "is not waited for any longer. It may go on, and stays open" in watched.listener.troubles[-1]


def test_an_expired_session_is_renewed_once_a_look(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), (401, {}), state("DONE"))
    assert watched.wait().state == "DONE"
    assert watched.listener.troubles == []


def test_an_outage_ends_the_wait_when_its_budget_is_spent_and_leaves_the_run_alone(
    watched: WatchedRun,
) -> None:
    watched.states(state("RUNNING"), (503, {}))
    with pytest.raises(YeeduAPIError, match="503"):
        watched.wait(outage_seconds=600)
    assert 500 < watched.clock.time < 601, "counted from the second look, a moment after the first"
    assert len(watched.yeedu.called("GET", RUN)) < 60
    assert watched.is_open
    assert not watched.stops


@pytest.mark.parametrize("path", [RUN, f"{RUN}/log/stdout"])
def test_a_look_that_hangs_is_given_up_and_made_again(
    watched: WatchedRun, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for module in (remote_run, log_follower):
        monkeypatch.setattr(module, "POLL_READ_SECONDS", 0.3)
    ends, hangs = threading.Event(), [True]

    def answer(_: Any) -> Answer:
        if hangs:
            hangs.clear()
            ends.wait(60)
        return state("DONE") if path == RUN else (200, b"all of it")

    watched.states(state("DONE"))
    watched.yeedu.on("GET", path, answer)
    began_at = time.monotonic()
    try:
        assert watched.wait().state == "DONE"
    finally:
        ends.set()
    assert time.monotonic() - began_at < 30
    assert len(watched.yeedu.called("GET", path)) > 1


def test_outages_do_not_add_up(watched: WatchedRun) -> None:
    def away(call: Any) -> Answer:
        watched.clock.time += 10
        return 503, {}

    outage = [away] * 3
    watched.states(
        state("RUNNING"), *outage, state("RUNNING"), *outage, state("RUNNING"), *outage, state("DONE")
    )
    assert watched.wait(outage_seconds=60).state == "DONE"
    assert watched.clock.time > 90


def test_yeedu_says_when_to_look_again(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), (503, {}, {"Retry-After": "45"}), state("DONE"))
    watched.wait()
    assert 45 <= watched.clock.time < 60


def test_a_lost_connection_is_waited_out_for_hours(watched: WatchedRun) -> None:
    def away(call: Any) -> Answer:
        return (0, b"") if watched.clock.time < 7000 else state("DONE")

    watched.states(state("RUNNING"), away)
    assert watched.wait().state == "DONE"
    assert watched.record.state is RunState.DONE


def test_a_lost_connection_that_stays_lost_is_a_transport_error(watched: WatchedRun) -> None:
    watched.states(state("RUNNING"), (0, b""))
    with pytest.raises(YeeduTransportError):
        watched.wait()
    assert watched.is_open


def test_a_state_is_recorded_when_it_was_read(watched: WatchedRun) -> None:
    phases: list[Phase] = []

    def look(word: str) -> Any:
        def answer(call: Any) -> Answer:
            phases.append(watched.record.phase)
            return state(word)

        return answer

    watched.states(look("SUBMITTED"), look("RUNNING"), look("RUNNING"), look("ERROR"))
    with pytest.raises(YeeduRunFailed):
        watched.wait()
    assert phases == [Phase.SUBMITTED, Phase.SUBMITTED, Phase.RUNNING, Phase.RUNNING]
    assert (watched.record.phase, watched.record.state) == (Phase.ENDED, RunState.ERROR)


def test_a_new_word_is_shown_and_waited_for(watched: WatchedRun) -> None:
    watched.states(state("QUEUED"), state("QUEUED"), state("PREPARING", end_time=None), state("DONE"))
    run = watched.run()
    seen: list[str] = []
    watched.listener.on_state = lambda run, state: seen.append(run.state_text)
    assert run.wait().state == "DONE"
    assert seen == ["QUEUED", "PREPARING", "DONE"]
    run.api.client.close()


@pytest.mark.parametrize("sign", [{"end_time": "2026-11-29T23:00:00Z"}, {"exit_code": 3}])
def test_a_new_word_with_an_end_is_an_end_without_success(watched: WatchedRun, sign: dict[str, Any]) -> None:
    watched.yeedu.on("GET", f"{RUN}/log/stdout", (200, b"last words\n"))
    watched.states(state("RUNNING"), state("FAILED", **sign))
    with pytest.raises(
        YeeduRunFailed, match=r"ended in FAILED \(a state that this version does not know\)"
    ) as caught:
        watched.wait()
    assert caught.value.state == "FAILED"
    assert watched.record.state is RunState.ENDED
    assert ("stdout", "last words") in watched.listener.lines
    assert not watched.stops


@pytest.mark.parametrize(
    "fields",
    [
        {"end_time": None, "exit_code": None},
        {"end_time": "", "exit_code": 0},
        {"end_time": False, "exit_code": True},
        {"end_time": {}, "exit_code": "none"},
        {"conf": 5, "created_by": ["x"]},
    ],
)
def test_a_new_word_without_an_end_is_none(watched: WatchedRun, fields: dict[str, Any]) -> None:
    watched.states(state("RESTING", **fields), state("RESTING", **fields), state("DONE"))
    assert watched.wait().state == "DONE"


@pytest.mark.parametrize("answer", [{}, {"run_status": None}, {"run_status": 7}, {"status": "ok"}])
def test_an_answer_without_a_state_says_nothing(watched: WatchedRun, answer: dict[str, Any]) -> None:
    watched.states((200, answer), state(" done "))
    assert watched.wait().state == "DONE"
