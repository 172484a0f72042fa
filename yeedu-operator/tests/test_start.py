"""What happens between the intent to run something and its submission."""

import signal
import sys
import threading
import time
from typing import Any

import pytest
from addressed import AddressedClient, execute
from fake_clock import FakeClock
from kept_ledger import KeptLedger
from scripted_yeedu import PASSWORD, ScriptedYeedu

from prefect_yeedu.client.login import Credentials
from prefect_yeedu.retry_policy import RetryPolicy, SystemClock
from prefect_yeedu.runs import record as record_module
from prefect_yeedu.runs.record import Record
from prefect_yeedu.runs.remote_run import RunListener
from prefect_yeedu.runs.request import RunRequest
from prefect_yeedu.runs.run_search import KEY_NAME
from prefect_yeedu.runs.wait_options import WaitOptions

SUBMIT = "workspace/1/spark/job/run"
LIST = "workspace/1/spark/job/runs"
DEFINITION = "workspace/1/spark/job"
NOT_SUBMITTED = "Interrupted. Job 5 was not submitted, because nobody waits for it any more."


def client_of(yeedu: ScriptedYeedu, **options: Any) -> AddressedClient:
    options = {"clock": FakeClock(), "retries": RetryPolicy(attempts=3), **options}
    return AddressedClient(yeedu.url(), Credentials("demo", PASSWORD), **options)


@pytest.fixture
def job(yeedu: ScriptedYeedu) -> ScriptedYeedu:
    """A Yeedu with a job on a cluster, whose run 9 succeeds."""
    yeedu.on("GET", DEFINITION, (200, {"job_id": 5, "cluster_id": 3}))
    yeedu.on("GET", f"{SUBMIT}/9", (200, {"run_id": 9, "run_status": "DONE"}))
    for stream in ("stdout", "stderr"):
        yeedu.on("GET", f"{SUBMIT}/9/log/{stream}", (200, b"done"))
    return yeedu


class PassingTime:
    """The time of day, in tests that move it on."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def time(self) -> float:
        return self.seconds


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> PassingTime:
    passing = PassingTime()
    monkeypatch.setattr(record_module, "time", passing)
    return passing


@pytest.mark.parametrize("is_known", [False, True])
def test_the_intent_on_record_is_as_old_as_the_submission_and_not_as_its_cluster_s_start(
    job: ScriptedYeedu, day: PassingTime, is_known: bool
) -> None:
    ledger = KeptLedger(Record("key-1", intended_at=day.seconds - 1000) if is_known else None)
    seen: list[float] = []

    def starting(call: Any) -> Any:
        day.seconds += 1000
        return 200, {"cluster_status": "STARTING"}

    def submitted(call: Any) -> Any:
        seen.append(ledger.record.intended_at)
        return 200, {"run_id": 9}

    job.on("GET", LIST, (200, {"data": []}))
    job.on("GET", "cluster", starting, (200, {"cluster_status": "RUNNING"}))
    job.on("POST", SUBMIT, submitted)
    with client_of(job) as client:
        assert execute(client, RunRequest(starts_cluster=True), None, ledger).run_id == 9
    assert seen == [day.seconds]


def test_a_run_of_an_earlier_attempt_is_looked_for_before_its_cluster_is_started(job: ScriptedYeedu) -> None:
    ledger = KeptLedger(Record("key-1", intended_at=time.time() - 5))
    job.on("GET", LIST, (200, {"data": [{"run_id": 9, "conf": [f"{KEY_NAME}=key-1"]}]}))
    with client_of(job) as client:
        assert execute(client, RunRequest(starts_cluster=True), None, ledger).run_id == 9
    assert job.called("GET", "cluster") == []
    assert job.called("POST", SUBMIT) == []


class Listener(RunListener):
    """Keeps what it is told; may have Ctrl-C pressed in the test's thread."""

    def __init__(self) -> None:
        self.troubles: list[str] = []

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)

    def press(self, answer: Any) -> Any:
        main = threading.main_thread().ident
        assert main is not None
        pressed = iter([True])

        def answering(call: Any) -> Any:
            if next(pressed, False):
                signal.pthread_kill(main, signal.SIGINT)
            return answer

        return answering


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a thread")
@pytest.mark.parametrize("answer", [(200, {"cluster_status": "STARTING"}), (503, b"unavailable")])
def test_an_interrupt_ends_the_wait_for_a_cluster_at_once_and_submits_nothing(
    job: ScriptedYeedu, answer: Any
) -> None:
    listener, ledger, began = Listener(), KeptLedger(), time.monotonic()
    job.on("GET", "cluster", listener.press(answer))
    options = WaitOptions(cluster_seconds=60, stop_seconds=30)
    with client_of(job, clock=SystemClock()) as client, pytest.raises(KeyboardInterrupt):
        execute(client, RunRequest(starts_cluster=True, options=options), listener, ledger)
    assert time.monotonic() - began < 25
    assert job.called("POST", SUBMIT) == []
    assert listener.troubles == [NOT_SUBMITTED]
    assert ledger.record.intended_at == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a thread")
def test_an_interrupt_ends_the_wait_that_yeedu_asks_for_before_a_submission(job: ScriptedYeedu) -> None:
    listener, ledger, began = Listener(), KeptLedger(), time.monotonic()
    busy = (429, {"error_code": "RFA-000429"}, {"Retry-After": "60"})
    job.on("POST", SUBMIT, listener.press(busy), (200, {"run_id": 9}))
    with client_of(job, clock=SystemClock()) as client, pytest.raises(KeyboardInterrupt):
        execute(client, RunRequest(), listener, ledger)
    assert time.monotonic() - began < 25
    assert len(job.called("POST", SUBMIT)) == 1
    assert listener.troubles[-1] == NOT_SUBMITTED
    assert ledger.record.intended_at == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a thread")
def test_an_interrupt_before_an_answer_does_not_say_that_something_was_submitted(job: ScriptedYeedu) -> None:
    listener, is_over = Listener(), threading.Event()
    press = listener.press((200, {"cluster_status": "STARTING"}))

    def blocked(call: Any) -> Any:
        answer = press(call)
        is_over.wait(60)
        return answer

    job.on("GET", "cluster", blocked)
    options = WaitOptions(stop_seconds=0.2)
    with client_of(job) as client, pytest.raises(KeyboardInterrupt):
        execute(client, RunRequest(starts_cluster=True, options=options), listener)
    is_over.set()
    assert listener.troubles == [
        "Interrupted before Yeedu has named a run of job 5. If it still names one, that is stopped, and it "
        "stays open on record until then."
    ]


def test_a_wait_that_yeedu_asks_for_before_a_submission_is_told_once(job: ScriptedYeedu) -> None:
    listener = Listener()
    busy = (429, {"error_code": "RFA-000429"}, {"Retry-After": "40"})
    job.on("POST", SUBMIT, busy, busy, (200, {"run_id": 9}))
    with client_of(job) as client:
        assert execute(client, None, listener).run_id == 9
    assert listener.troubles == [
        "Asking Yeedu to run job 5 again in 40.0 s: Yeedu asks to be called less often."
    ]


def test_a_cluster_that_cannot_be_looked_at_is_told_once_for_each_time(job: ScriptedYeedu) -> None:
    listener, away = Listener(), (503, b"unavailable")
    starting = (200, {"cluster_status": "STARTING"})
    outages = [*[away] * 9, starting, away, starting, *[away] * 9]  # the one in the middle is short
    job.on("GET", "cluster", *outages, (200, {"cluster_status": "RUNNING"}))
    job.on("POST", SUBMIT, (200, {"run_id": 9}))
    with client_of(job) as client:
        assert execute(client, RunRequest(starts_cluster=True), listener).run_id == 9
    *told, running = listener.troubles
    assert running == "Cluster 3 is running."
    assert len(told) == 2
    for text in told:
        assert text.startswith("Asking Yeedu about cluster 3 again in ")
        assert text.endswith(" s: something in front of Yeedu answered 503.")
