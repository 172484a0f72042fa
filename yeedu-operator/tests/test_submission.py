"""A submission is made at most once, whatever becomes of its answer; and none is told from unknown."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from addressed import AddressedClient, execute
from fake_clock import FakeClock
from kept_ledger import KeptLedger
from scripted_yeedu import PASSWORD, TENANT, Call, Handler, ScriptedYeedu

from prefect_yeedu.client.login import Credentials
from prefect_yeedu.client.transport import Timeouts
from prefect_yeedu.errors import (
    YeeduAPIError,
    YeeduError,
    YeeduRunError,
    YeeduRunFailed,
    YeeduStopRequested,
    YeeduSubmissionUnknown,
    YeeduTransportError,
)
from prefect_yeedu.models import Generation, RunState
from prefect_yeedu.retry_policy import RetryPolicy
from prefect_yeedu.runs import submission
from prefect_yeedu.runs.record import Ledger, Phase, Record, Resume
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.run_search import KEY_NAME
from prefect_yeedu.runs.wait_options import WaitOptions

if TYPE_CHECKING:
    from collections.abc import Callable

SUBMIT = "workspace/1/spark/job/run"
LIST = "workspace/1/spark/job/runs"
LOST = (0, None)
PROXY = (404, b"default backend - 404")


def client_of(yeedu: ScriptedYeedu, path: str = "spark/job/5", **options: Any) -> AddressedClient:
    options = {"clock": FakeClock(), "retries": RetryPolicy(attempts=3), **options}
    return AddressedClient(yeedu.url(path), Credentials("demo", PASSWORD), **options)


def runs_well(yeedu: ScriptedYeedu, run_id: int, state: str = "DONE") -> None:
    yeedu.on("GET", f"{SUBMIT}/{run_id}", (200, {"run_id": run_id, "run_status": state}))
    for stream in ("stdout", "stderr"):
        yeedu.on("GET", f"{SUBMIT}/{run_id}/log/{stream}", (200, b"from %d" % run_id))
    yeedu.on("GET", f"{SUBMIT}/{run_id}/workflow/errors", (200, {"data": []}))


def submissions(yeedu: ScriptedYeedu) -> list[Call]:
    return yeedu.called("POST", SUBMIT)


def conf_of(yeedu: ScriptedYeedu) -> list[str]:
    """Return the conf entries of the first submission."""
    return submissions(yeedu)[0].body["conf"]


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def intended(seconds_ago: float, **fields: Any) -> KeptLedger:
    return KeptLedger(Record("key-1", intended_at=time.time() - seconds_ago, **fields))


def shows_run(yeedu: ScriptedYeedu, run_id: int = 9, **fields: Any) -> Any:
    """Return a list with the run of the first submission."""

    def answer(call: Call) -> Any:
        conf = conf_of(yeedu)
        return 200, {"data": [{"run_id": run_id, "run_status": "DONE", "conf": conf, **fields}]}

    return answer


def test_a_lost_answer_is_searched_for_until_the_run_shows(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", SUBMIT, LOST)
    none = (404, {"error_code": "RFA-000404", "error_message": "no runs"})
    yeedu.on("GET", LIST, none, (502, b"bad gateway"), none, PROXY, none, shows_run(yeedu))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client).run_id == 9
    assert len(submissions(yeedu)) == 1


class EndedClock(FakeClock):
    """As `StoppableClock` once nobody waits any more: no wait lasts."""

    def sleep(self, seconds: float) -> None:
        raise YeeduStopRequested("The wait for Yeedu has ended, because whoever waited was cancelled.")


@pytest.mark.parametrize("shows", [True, False])
def test_a_search_that_nobody_waits_for_any_more_goes_on_for_a_while_in_ordinary_time(
    yeedu: ScriptedYeedu, monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    monkeypatch.setattr(submission, "HURRIED_SEARCH_SECONDS", 30.0 if shows else 1.0)
    none = (200, {"data": []})
    yeedu.on("POST", SUBMIT, LOST)
    yeedu.on("GET", LIST, none, none, shows_run(yeedu, run_status="RUNNING") if shows else none)
    yeedu.on("POST", f"{SUBMIT}/stop/9", (201, {}))
    stopped = yeedu.called
    yeedu.on(
        "GET",
        f"{SUBMIT}/9",
        lambda _: (200, {"run_status": "STOPPED" if stopped("POST", f"{SUBMIT}/stop/9") else "RUNNING"}),
    )
    ledger, began_at = KeptLedger(), time.monotonic()
    kind = YeeduStopRequested if shows else YeeduSubmissionUnknown
    with client_of(yeedu, clock=EndedClock()) as client, pytest.raises(kind):
        execute(client, None, None, ledger)
    assert len(submissions(yeedu)) == 1
    assert len(yeedu.called("GET", LIST)) < 10, "it waits between its looks"
    assert time.monotonic() - began_at < 25
    assert ledger.record.phase is (Phase.ENDED if shows else Phase.INTENDED)
    assert len(stopped("POST", f"{SUBMIT}/stop/9")) == int(shows)


@pytest.mark.parametrize(
    "answer",
    [
        PROXY,
        (404, {"error_code": "RFA-000404", "error_message": "no runs"}),
        (200, {"data": []}),
        (503, b"unavailable"),
    ],
)
@pytest.mark.parametrize("lost", [LOST, (504, b"gateway timeout"), (524, b"a timeout occurred")])
def test_after_silence_nothing_is_submitted_again(yeedu: ScriptedYeedu, lost: Any, answer: Any) -> None:
    yeedu.on("POST", SUBMIT, lost)
    yeedu.on("GET", LIST, answer)
    clock, ledger = FakeClock(), KeptLedger()
    with client_of(yeedu, clock=clock) as client, pytest.raises(YeeduSubmissionUnknown) as caught:
        execute(client, None, None, ledger)
    assert f"{KEY_NAME}={ledger.record.key}" in str(caught.value)
    assert len(submissions(yeedu)) == 1
    assert ledger.record.phase is Phase.INTENDED
    assert ledger.record.intended_at
    assert 250 < clock.time < 400
    assert len(yeedu.called("GET", LIST)) < 3 * 90


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error_code": "RFA-000500", "error_message": "broken"}),
        (503, b"<html>no upstream</html>"),
        (502, b"bad gateway"),
        PROXY,
    ],
)
def test_after_an_answer_that_names_no_run_the_search_is_short_and_the_next_attempt_s_goes_on(
    yeedu: ScriptedYeedu, answer: Any
) -> None:
    yeedu.on("POST", SUBMIT, answer, (200, {"run_id": 9}))
    yeedu.on("GET", LIST, (200, {"data": []}))
    runs_well(yeedu, 9)
    clock, ledger = FakeClock(), KeptLedger()
    with client_of(yeedu, clock=clock) as client:
        with pytest.raises(YeeduSubmissionUnknown, match=r"broken|answered"):
            execute(client, None, None, ledger)
        assert clock.time == pytest.approx(30, abs=10)
        assert len(submissions(yeedu)) == 1
        assert ledger.record.intended_at
        searched, clock.time = clock.time, 0.0
        assert execute(client, None, None, ledger).run_id == 9
    assert searched + clock.time > 250  # the fake clock's seconds do not make an intent older
    assert len(submissions(yeedu)) == 2


@pytest.mark.parametrize(
    ("lost", "cluster_seconds", "window"),
    [
        (LOST, 1800, 1800),
        ((504, b"gateway timeout"), 1800, 1800),
        (LOST, 60, 300),
        ((503, b"no upstream"), 1800, 300),
    ],
)
def test_a_submission_that_nobody_answered_is_looked_for_while_its_cluster_may_start(
    yeedu: ScriptedYeedu, lost: Any, cluster_seconds: int, window: int
) -> None:
    yeedu.on("POST", SUBMIT, lost, (200, {"run_id": 9}))
    yeedu.on("GET", LIST, (200, {"data": []}))
    runs_well(yeedu, 9)
    clock, ledger, listener = FakeClock(), KeptLedger(), Troubles()
    request = RunRequest(options=WaitOptions(cluster_seconds=cluster_seconds))
    with client_of(yeedu, clock=clock) as client:
        with pytest.raises(YeeduSubmissionUnknown):
            execute(client, request, None, ledger)
        clock.time = 0.0  # the intent is a few of this machine's seconds old
        assert execute(client, request, listener, ledger).run_id == 9
    assert clock.time == pytest.approx(window, abs=30)
    assert len(submissions(yeedu)) == 2
    assert not ledger.record.is_unanswered
    assert re.fullmatch(
        rf"Submitting job 5 again: Yeedu shows no run with the key {ledger.record.key}, \d+ s after an "
        r"earlier attempt may have asked for it\.",
        listener.texts[-1],
    )


def test_the_run_of_a_submission_that_nobody_answered_for_minutes_is_found_by_the_next_attempt(
    yeedu: ScriptedYeedu,
) -> None:
    clock, ledger = FakeClock(), KeptLedger()

    def shows_late(call: Call) -> Any:
        return (200, {"data": []}) if clock.time < 1000 else shows_run(yeedu)(call)

    yeedu.on("POST", SUBMIT, LOST)
    yeedu.on("GET", LIST, shows_late)
    runs_well(yeedu, 9)
    with client_of(yeedu, clock=clock) as client:
        with pytest.raises(YeeduSubmissionUnknown):
            execute(client, None, None, ledger)
        assert execute(client, None, None, ledger).run_id == 9
    assert len(submissions(yeedu)) == 1


class Troubles(RunListener):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_trouble(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize(
    ("lost", "reason", "seconds"),
    [
        (LOST, r"The connection to Yeedu at .* broke before the answer came \(.*\)", 300),
        ((503, b"no upstream"), "Yeedu at .* answered 503 when asked to run job 5", 30),
    ],
)
def test_a_search_after_a_lost_answer_is_told(
    yeedu: ScriptedYeedu, lost: Any, reason: str, seconds: int
) -> None:
    listener = Troubles()
    yeedu.on("POST", SUBMIT, lost)
    yeedu.on("GET", LIST, (200, {"data": []}), shows_run(yeedu))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client, None, listener).run_id == 9
    [text] = listener.texts
    assert re.fullmatch(
        rf"It is not known whether Yeedu started job 5 \({reason}\); "
        rf"looking for its run for up to {seconds} s\.",
        text,
    )


def test_a_search_for_the_run_of_an_earlier_attempt_is_told(yeedu: ScriptedYeedu) -> None:
    listener = Troubles()
    yeedu.on("GET", LIST, (200, {"data": []}), (200, {"data": [{"run_id": 9, "conf": ["k=key-1"]}]}))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client, None, listener, intended(100)).run_id == 9
    [text] = listener.texts
    told = re.fullmatch(
        r"An earlier attempt may have started job 5; looking for its run for up to (\d+) s\.", text
    )
    assert told
    assert 100 < int(told[1]) <= 200  # the intent is as old as it has become by then


def test_a_submission_may_take_longer_than_any_other_call(yeedu: ScriptedYeedu) -> None:
    def slow(call: Call) -> Any:
        time.sleep(2.5)
        return 200, {"run_id": 9}

    yeedu.on("POST", SUBMIT, slow)
    runs_well(yeedu, 9)
    with client_of(yeedu, timeouts=Timeouts(30.0, 1.5)) as client:
        assert execute(client).run_id == 9
    assert len(submissions(yeedu)) == 1


def test_a_submission_that_takes_longer_than_its_limit_is_found_in_the_list(yeedu: ScriptedYeedu) -> None:
    is_over = threading.Event()

    def blocked(call: Call) -> Any:
        is_over.wait(60)
        return 200, {"run_id": 9}

    yeedu.on("POST", SUBMIT, blocked)
    yeedu.on("GET", LIST, (200, {"data": []}), shows_run(yeedu))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        result = execute(client, RunRequest(options=WaitOptions(submit_seconds=0.3)))
    is_over.set()
    assert result.run_id == 9
    assert len(submissions(yeedu)) == 1


def test_a_run_that_yeedu_accepts_without_naming_it_is_searched_for(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", SUBMIT, (200, {"message": "started"}))
    yeedu.on("GET", LIST, shows_run(yeedu))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client).run_id == 9
    assert len(submissions(yeedu)) == 1


class Listed:
    """A list of 1,250 runs, one in five minutes; the last one is the run of the first submission."""

    def __init__(self, yeedu: ScriptedYeedu, order: str, *, shows: tuple[str, ...]) -> None:
        self.yeedu, self.order, self.shows = yeedu, order, shows

    def __call__(self, call: Call) -> Any:
        now = time.time()
        runs: list[dict[str, Any]] = [
            {"run_id": 2000 + n, "run_status": "DONE", "conf": [], "created_at": iso(now - 300 * (1250 - n))}
            for n in range(1250)
        ]
        runs[-1] |= {"run_id": 9, "conf": conf_of(self.yeedu), "created_at": iso(now)}
        if self.order == "newest first":
            runs.reverse()
        elif self.order == "by name":
            runs.sort(key=lambda run: (run["run_id"] * 7919) % 1009)
        query = dict(part.split("=") for part in call.query.split("&"))
        number, limit = int(query["pageNumber"]), int(query["limit"])
        page = [{k: v for k, v in run.items() if k in self.shows} for run in runs]
        answer: dict[str, Any] = {"data": page[(number - 1) * limit : number * limit]}
        if "total" in self.shows:
            answer["result_set"] = {"total_pages": -(-len(runs) // limit)}
        return 200, answer


@pytest.mark.parametrize("order", ["newest first", "oldest first", "by name"])
@pytest.mark.parametrize("shows", [("created_at", "total"), ("created_at",), ("total",), ()])
def test_the_whole_list_is_searched_in_whatever_order_it_is(
    yeedu: ScriptedYeedu, order: str, shows: tuple[str, ...]
) -> None:
    yeedu.on("POST", SUBMIT, LOST)
    yeedu.on("GET", LIST, Listed(yeedu, order, shows=("run_id", "run_status", "conf", *shows)))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client).run_id == 9
    assert len(submissions(yeedu)) == 1
    if order == "newest first" and "created_at" in shows:
        assert len(yeedu.called("GET", LIST)) <= 5
    if order == "oldest first" and len(shows) == 2:
        assert len(yeedu.called("GET", LIST)) <= 6


def test_a_list_without_conf_entries_is_completed_run_by_run(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", SUBMIT, LOST)
    yeedu.on("GET", LIST, (200, {"data": [{"run_id": 8}, {"run_id": 9}]}))
    yeedu.on("GET", f"{SUBMIT}/8", (200, {"run_id": 8, "run_status": "RUNNING", "conf": ["a=b"]}))
    runs_well(yeedu, 9)
    shown = {"run_id": 9, "run_status": "DONE"}
    yeedu.on("GET", f"{SUBMIT}/9", lambda call: (200, {**shown, "conf": conf_of(yeedu)}))
    with client_of(yeedu) as client:
        assert execute(client).run_id == 9
    assert len(submissions(yeedu)) == 1


def test_runs_that_never_show_their_conf_leave_it_unknown(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", SUBMIT, LOST)
    yeedu.on("GET", LIST, (200, {"data": [{"run_id": 8}]}))
    runs_well(yeedu, 8)
    with client_of(yeedu) as client, pytest.raises(YeeduSubmissionUnknown, match="do not show their conf"):
        execute(client)
    assert len(submissions(yeedu)) == 1


def test_a_few_runs_that_cannot_be_read_for_long_are_no_many_runs(yeedu: ScriptedYeedu) -> None:
    clock = FakeClock()
    unreadable = [{"run_id": number} for number in range(10, 30)]

    def shows_late(call: Call) -> Any:
        late = [{"run_id": 9, "conf": conf_of(yeedu)}] if clock.time > 200 else []
        return 200, {"data": [*unreadable, *late]}

    yeedu.on("POST", SUBMIT, LOST)
    yeedu.on("GET", LIST, shows_late)
    runs_well(yeedu, 9)
    with client_of(yeedu, clock=clock) as client:
        assert execute(client).run_id == 9
    assert len(submissions(yeedu)) == 1


# What a later attempt makes of an intent.


def test_a_later_attempt_finds_the_run_of_an_intent(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", LIST, (200, {"data": [{"run_id": 9, "conf": [f"{KEY_NAME} = key-1"]}]}))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client, None, None, intended(5)).run_id == 9
    assert submissions(yeedu) == []


@pytest.mark.parametrize(
    "shown",
    [
        lambda key: [{"key": "a", "value": "b"}, {"key": KEY_NAME, "value": key}],
        lambda key: [{"name": KEY_NAME, "setting": {"value": key}}],
        lambda key: [["a", "b"], [KEY_NAME, key]],
        lambda key: {"a": "b", KEY_NAME: key},
        lambda key: f"a=b,{KEY_NAME}={key}",
        lambda key: [f'--conf "{KEY_NAME}={key}"'],
    ],
)
def test_the_key_is_recognized_in_whatever_form_a_server_shows_it(
    yeedu: ScriptedYeedu, shown: Callable[[str], Any]
) -> None:
    runs = [{"run_id": 7, "conf": shown("xkey-1")}, {"run_id": 8, "conf": shown("key-10")}]
    yeedu.on("GET", LIST, (200, {"data": [*runs, {"run_id": 9, "conf": shown("key-1")}]}))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client, None, None, intended(5)).run_id == 9
    assert submissions(yeedu) == []


@pytest.mark.parametrize("seconds_ago", [1, 100, 1000])
def test_a_later_attempt_submits_when_nothing_can_come_any_more(
    yeedu: ScriptedYeedu, seconds_ago: float
) -> None:
    yeedu.on("GET", LIST, (200, {"data": [{"run_id": 8, "conf": [f"{KEY_NAME}=key-10"]}]}))
    yeedu.on("POST", SUBMIT, (200, {"run_id": 9}))
    runs_well(yeedu, 9)
    clock, ledger = FakeClock(), intended(seconds_ago)
    with client_of(yeedu, clock=clock) as client:
        assert execute(client, None, None, ledger).run_id == 9
    assert clock.time == pytest.approx(max(0, 300 - seconds_ago), abs=40)
    assert time.time() - ledger.record.intended_at < 60  # the new submission is a new intent


def test_another_machine_s_clock_hides_no_run(yeedu: ScriptedYeedu) -> None:
    run = {"run_id": 9, "conf": [f"{KEY_NAME}=key-1"], "created_at": iso(time.time() - 1060)}
    yeedu.on("GET", LIST, (200, {"data": [run]}))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client, None, None, intended(1000)).run_id == 9
    assert submissions(yeedu) == []


def test_a_later_attempt_does_not_submit_while_the_list_cannot_be_read(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", LIST, PROXY)
    with client_of(yeedu) as client, pytest.raises(YeeduSubmissionUnknown):
        execute(client, None, None, intended(1000))
    assert submissions(yeedu) == []


@pytest.mark.parametrize(
    "refusal", [(409, {"error_code": "RFA-000409"}), (404, {"error_code": "RFA-000404"})]
)
def test_what_yeedu_refuses_is_submitted_anew_at_once(yeedu: ScriptedYeedu, refusal: Any) -> None:
    yeedu.on("POST", SUBMIT, refusal, (200, {"run_id": 9}))
    runs_well(yeedu, 9)
    ledger = KeptLedger()
    with client_of(yeedu) as client:
        with pytest.raises(YeeduAPIError):
            execute(client, None, None, ledger)
        assert ledger.record.intended_at == 0
        assert execute(client, None, None, ledger).run_id == 9
    assert yeedu.called("GET", LIST) == []


def test_a_lost_login_is_not_a_lost_submission(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", "login", LOST)
    ledger = KeptLedger()
    with client_of(yeedu) as client, pytest.raises(YeeduTransportError):
        execute(client, None, None, ledger)
    assert submissions(yeedu) == []
    assert yeedu.called("GET", LIST) == []
    assert ledger.record.intended_at == 0


def test_a_login_that_is_lost_when_the_session_expires_is_not_a_lost_submission(
    yeedu: ScriptedYeedu,
) -> None:
    yeedu.on("POST", "login", (200, {"token": "token-of-the-first-login"}), LOST)
    yeedu.on("POST", SUBMIT, (401, {"error_code": "RFA-000001", "error_message": "expired"}))
    ledger = KeptLedger()
    with client_of(yeedu) as client, pytest.raises(YeeduTransportError):
        execute(client, None, None, ledger)
    assert yeedu.called("GET", LIST) == []
    assert ledger.record.intended_at == 0


def test_a_login_that_fails_does_not_close_the_intent_of_an_earlier_attempt(yeedu: ScriptedYeedu) -> None:
    yeedu.on("POST", "login", (401, {"error_code": "RFA-000401", "error_message": "wrong password"}))
    ledger = intended(1000)
    with client_of(yeedu) as client, pytest.raises(YeeduError, match="wrong password"):
        execute(client, None, None, ledger)
    assert ledger.record.intended_at


@pytest.mark.parametrize("attempts", [1, 4])
def test_a_call_makes_as_many_requests_as_its_patience_says(yeedu: ScriptedYeedu, attempts: int) -> None:
    yeedu.on("GET", "login/auth_type", LOST)
    retries = RetryPolicy(attempts=attempts)
    with client_of(yeedu, retries=retries) as client, pytest.raises(YeeduTransportError):
        client.get_object("anything", "about anything")
    assert [call.path for call in yeedu.calls] == ["login/auth_type"] * attempts


# An earlier attempt's run is in the way, or is taken over.


def stopping(yeedu: ScriptedYeedu, *states: str) -> KeptLedger:
    yeedu.on("GET", f"{SUBMIT}/8", *[(200, {"run_id": 8, "run_status": state}) for state in states])
    yeedu.on("POST", f"{SUBMIT}/stop/8", (201, {}))
    yeedu.on("POST", SUBMIT, (200, {"run_id": 9}))
    runs_well(yeedu, 9)
    return KeptLedger(Record("key-1", Phase.STOPPING, run_id=8))


def test_a_run_that_was_being_stopped_is_seen_to_end_before_another_one_starts(
    yeedu: ScriptedYeedu,
) -> None:
    ledger = stopping(yeedu, "RUNNING", "STOPPING", "STOPPED")
    with client_of(yeedu) as client:
        assert execute(client, None, None, ledger).run_id == 9
    paths = [call.path for call in yeedu.calls if call.method == "POST"]
    assert paths[-3:] == [f"{SUBMIT}/stop/8", SUBMIT, "logout"]


def test_a_run_that_was_to_be_stopped_and_has_succeeded_gives_its_result(yeedu: ScriptedYeedu) -> None:
    ledger = stopping(yeedu, "DONE")
    runs_well(yeedu, 8)
    with client_of(yeedu) as client:
        assert execute(client, None, None, ledger).run_id == 8
    assert submissions(yeedu) == []


@pytest.mark.parametrize("answer", [(503, b"unavailable"), (200, {"run_id": 8, "run_status": "RUNNING"})])
def test_while_a_run_is_not_seen_to_end_no_other_one_starts(yeedu: ScriptedYeedu, answer: Any) -> None:
    ledger = stopping(yeedu, "RUNNING")
    yeedu.on("GET", f"{SUBMIT}/8", answer)
    request = RunRequest(options=WaitOptions(stop_seconds=0.2))
    with client_of(yeedu) as client, pytest.raises(YeeduRunError, match="Run 8 of an earlier attempt"):
        execute(client, request, None, ledger)
    assert submissions(yeedu) == []
    assert ledger.record.phase is Phase.STOPPING


def ended(state: RunState) -> KeptLedger:
    return KeptLedger(Record("key-1", Phase.ENDED, run_id=8, state=state))


@pytest.mark.parametrize(
    ("resume", "ledger", "expected"),
    [
        (Resume.ON_CRASH, KeptLedger(Record("key-1", Phase.RUNNING, run_id=8)), 8),
        (Resume.ON_CRASH, ended(RunState.DONE), 8),
        (Resume.ON_CRASH, ended(RunState.ERROR), 9),
        (Resume.ON_CRASH, ended(RunState.STOPPED), 9),
        (Resume.ALWAYS, KeptLedger(Record("key-1", Phase.RUNNING, run_id=8)), 8),
        (Resume.ALWAYS, ended(RunState.DONE), 8),
        (Resume.NEVER, KeptLedger(Record("key-1", Phase.RUNNING, run_id=8)), 9),
        (Resume.NEVER, ended(RunState.DONE), 9),
    ],
)
def test_resume_says_which_runs_are_taken_over(
    yeedu: ScriptedYeedu, resume: Resume, ledger: KeptLedger, expected: int
) -> None:
    runs_well(yeedu, 8)
    runs_well(yeedu, 9)
    yeedu.on("POST", f"{SUBMIT}/stop/8", (201, {}))
    yeedu.on("POST", SUBMIT, (200, {"run_id": 9}))
    with client_of(yeedu) as client:
        assert execute(client, RunRequest(resume=resume), None, ledger).run_id == expected


def test_resume_always_never_starts_a_second_run(yeedu: ScriptedYeedu) -> None:
    runs_well(yeedu, 8, "ERROR")
    request = RunRequest(resume=Resume.ALWAYS, options=WaitOptions(log_patience_seconds=0.1))
    with client_of(yeedu) as client, pytest.raises(YeeduRunFailed, match="run 8 ended in ERROR"):
        execute(client, request, None, ended(RunState.ERROR))
    assert submissions(yeedu) == []


def test_resume_never_stops_the_run_of_an_intent_first(yeedu: ScriptedYeedu) -> None:
    yeedu.on("GET", LIST, (200, {"data": [{"run_id": 8, "conf": [f"{KEY_NAME}=key-1"]}]}))
    runs_well(yeedu, 8, "STOPPED")
    yeedu.on("POST", f"{SUBMIT}/stop/8", (201, {}))
    yeedu.on("POST", SUBMIT, (200, {"run_id": 9}))
    runs_well(yeedu, 9)
    with client_of(yeedu) as client:
        assert execute(client, RunRequest(resume=Resume.NEVER), None, intended(5)).run_id == 9
    assert yeedu.called("POST", f"{SUBMIT}/stop/8")


# The first generation, whose runs carry no key.

V1_SUBMIT, V1_LIST = "workspace/1/spark/job", "workspace/1/spark/jobs"


@pytest.fixture
def v1(yeedu: ScriptedYeedu) -> ScriptedYeedu:
    """A server of the first generation that loses the answer to the submission."""
    yeedu.on("POST", V1_SUBMIT, LOST)
    yeedu.on("GET", "user/info", (200, {"username": "demo", "user_id": 7, "tenant_id": TENANT}))
    for run_id in (8, 9):
        yeedu.on("GET", f"{V1_SUBMIT}/{run_id}", (200, {"job_id": run_id, "job_status": "DONE"}))
        for stream in ("stdout", "stderr"):
            yeedu.on("GET", f"{V1_SUBMIT}/{run_id}/log/{stream}", (200, b"x"))
    return yeedu


def v1_run(run_id: int, seconds: float = 0.0, by: object = "demo", **fields: Any) -> dict[str, Any]:
    return {"job_id": run_id, "created_at": iso(time.time() + seconds), "created_by": by, **fields}


def execute_v1(yeedu: ScriptedYeedu, runs: list[dict[str, Any]], ledger: Ledger | None = None) -> int | None:
    yeedu.on("GET", V1_LIST, (200, {"data": runs}))
    with client_of(yeedu, "spark/conf/5", retries=RetryPolicy(attempts=1)) as client:
        return execute(client, RunRequest(generation=Generation.V1), None, ledger).run_id


@pytest.mark.parametrize("by", ["demo", 7, {"user_id": 7, "name": "Demo"}])
def test_the_first_generation_takes_the_only_run_that_is_proved(v1: ScriptedYeedu, by: object) -> None:
    others = [v1_run(7, -600), v1_run(8, 1, by="colleague")]
    assert execute_v1(v1, [v1_run(9, 1, by=by), *others]) == 9
    assert len(v1.called("POST", V1_SUBMIT)) == 1


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (lambda: [v1_run(8, 1, by="colleague")], "whether this user started run 8"),
        (lambda: [v1_run(8, 1), v1_run(9, 2)], r"each of the runs \[8, 9\]"),
        (lambda: [{"job_id": 9, "created_by": "demo"}], "do not show when"),
        (lambda: [{"job_id": 9, "created_at": iso(time.time())}], "does not show who"),
        (lambda: [{**v1_run(9), "created_at": iso(time.time()).removesuffix("+00:00")}], "time zone"),
        (lambda: [v1_run(9, -60)], "broke before the answer"),
    ],
)
def test_the_first_generation_takes_no_run_without_proof(
    v1: ScriptedYeedu, runs: Callable[[], list[dict[str, Any]]], reason: str
) -> None:
    with pytest.raises(YeeduSubmissionUnknown, match=reason):
        execute_v1(v1, runs())
    assert len(v1.called("POST", V1_SUBMIT)) == 1


def test_the_first_generation_does_not_take_the_run_of_an_earlier_attempt(v1: ScriptedYeedu) -> None:
    ledger = KeptLedger(Record("key-1", Phase.ENDED, run_id=8, state=RunState.ERROR))
    with pytest.raises(YeeduSubmissionUnknown):
        execute_v1(v1, [v1_run(8, -1)], ledger)


def test_the_first_generation_does_not_trust_another_machine_s_clock(v1: ScriptedYeedu) -> None:
    with pytest.raises(YeeduSubmissionUnknown, match="run 9 was started just before"):
        execute_v1(v1, [v1_run(9, -1030)], intended(1000))
    assert v1.called("POST", V1_SUBMIT) == []


def test_a_server_whose_clock_is_wrong_is_understood(
    v1: ScriptedYeedu, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = timedelta(hours=1)
    monkeypatch.setattr(
        Handler, "date_time_string", lambda self: format_datetime(datetime.now(UTC) + hour, usegmt=True)
    )
    assert execute_v1(v1, [v1_run(9, 3601), v1_run(8, 1)]) == 9


def test_the_user_of_a_token_is_asked_for(v1: ScriptedYeedu) -> None:
    v1.on("GET", V1_LIST, (200, {"data": [v1_run(9, 1), v1_run(8, 1, by="colleague")]}))
    credentials = Credentials(token="given-" + "token")
    with v1.client("spark/conf/5", credentials, FakeClock()) as client:
        assert execute(client, RunRequest(generation=Generation.V1)).run_id == 9
